"""Who may do what: policies over paths, with `*` at the end and `+` for a segment."""

from collections.abc import Iterable, Mapping

# The order in which the real server tells them; it sorts them before it does.
CAPABILITIES = ("create", "delete", "list", "patch", "read", "scan", "sudo", "update")
Rules = Mapping[str, Iterable[str]]

DEFAULT: dict[str, list[str]] = {
    "auth/token/lookup-self": ["read"],
    "sys/capabilities-self": ["update"],
    "sys/wrapping/lookup": ["update"],
    "sys/wrapping/unwrap": ["update"],
}
WRAPPING: dict[str, list[str]] = {"sys/wrapping/unwrap": ["update"]}


def check_rules(rules: Rules) -> None:
    """Raises: ValueError, for a pattern or a capability that there is not."""
    for path, words in rules.items():
        if "+*" in path:
            raise ValueError(f"path {path!r}: invalid use of wildcards ('+*' is forbidden)")
        unknown = set(words) - {*CAPABILITIES, "deny"}
        if unknown:
            raise ValueError(f"path {path!r}: invalid capability {unknown.pop()!r}")


class Access:
    """What all the policies of a token allow together."""

    def __init__(self, policies: Iterable[tuple[str, Rules]], *, root: str | None = None) -> None:
        """Take the rules of each policy with its namespace; `root` is the namespace that is open as a whole."""
        self._exact: dict[str, set[str]] = {}
        self._prefixes: dict[str, set[str]] = {}
        self._segments: dict[str, set[str]] = {}
        self._root = root
        for namespace, rules in policies:
            for pattern, capabilities in rules.items():
                self._add(namespace + pattern.removeprefix("/"), set(capabilities))

    def _add(self, path: str, capabilities: set[str]) -> None:
        if "+" in path.rstrip("*").split("/"):
            rules = self._segments
        elif path.endswith("*"):
            rules, path = self._prefixes, path[:-1]
        else:
            rules = self._exact
        together = rules.get(path, set()) | capabilities
        rules[path] = {"deny"} if "deny" in together else together

    def capabilities(self, path: str) -> list[str]:
        """Return the words for a full path, as `sys/capabilities-self` tells them."""
        if self._is_root(path):
            return ["root"]
        found = self._matching(path, lists=True)
        return ["deny"] if not found or "deny" in found else [word for word in CAPABILITIES if word in found]

    def allows(self, operation: str, path: str) -> bool:
        found = self._matching(path, lists=operation in ("list", "scan"))
        return self._is_root(path) or (operation in found and "deny" not in found)

    def sees_mount(self, mount: str) -> bool:
        """Say whether anything at or under a mount is allowed, whatever it is."""
        if self.capabilities(mount) != ["deny"]:
            return True
        under = [
            found for rules in (self._exact, self._prefixes) for path, found in rules.items() if path.startswith(mount)
        ]
        under += [found for pattern, found in self._segments.items() if _reaches(pattern, mount)]
        return any(found and "deny" not in found for found in under)

    def _is_root(self, path: str) -> bool:
        return self._root is not None and path.startswith(self._root)

    def _matching(self, path: str, *, lists: bool) -> set[str]:
        names = [path, path.removesuffix("/")] if lists else [path]
        for name in names:
            if name in self._exact:
                return self._exact[name]
        for name in names:
            found = self._best(name)
            if found is not None:
                return found
        return set()

    def _best(self, path: str) -> set[str] | None:
        """Return what the most specific pattern says: the later its first wildcard the better, then see the key."""
        candidates = []
        prefix = max((prefix for prefix in self._prefixes if path.startswith(prefix)), key=len, default=None)
        if prefix is not None:
            candidates.append(((len(prefix), False, 0, len(prefix), prefix), self._prefixes[prefix]))
        for pattern, found in self._segments.items():
            if _matches(pattern, path):
                text = pattern.removesuffix("*")
                key = (pattern.index("+"), text == pattern, -text.split("/").count("+"), len(text), text)
                candidates.append((key, found))
        return max(candidates, key=lambda candidate: candidate[0])[1] if candidates else None


def _matches(pattern: str, path: str) -> bool:
    open_ended = pattern.endswith("*")
    parts, segments = pattern.removesuffix("*").split("/"), path.split("/")
    if len(segments) < len(parts) or (not open_ended and len(segments) != len(parts)):
        return False
    *heads, tail = zip(parts, segments, strict=False)
    whole = all(part in ("+", segment) for part, segment in heads)
    return whole and (tail[0] in ("+", tail[1]) or (open_ended and tail[1].startswith(tail[0])))


def _reaches(pattern: str, mount: str) -> bool:
    wanted = mount.rstrip("/").split("/")
    parts = pattern.split("/")
    return len(parts) >= len(wanted) and all(
        part in ("+", segment) or (part.endswith("*") and segment.startswith(part[:-1]))
        for part, segment in zip(parts, wanted, strict=False)
    )
