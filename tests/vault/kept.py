"""What a server keeps in its key-value mounts: looked at, written as a stranger does, and put back."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

#: By mount and path, all that is kept there.
Snapshot = dict[str, dict[str, dict[str, Any]]]
_SETTINGS = ("cas_required", "custom_metadata", "delete_version_after", "max_versions")


class Kept(ABC):
    """The mounts of a server, each with its version."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}

    @abstractmethod
    def ask(self, method: str, path: str, body: Any = None, *, version: int = 0) -> dict[str, Any]:
        """Ask with all rights, past every fault; an empty answer is an empty object."""

    @abstractmethod
    def do(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Ask likewise, for what must not be refused. Raises: RuntimeError."""

    def data(self, mount: str, path: str) -> str:
        """Return where the API has the data of a secret."""
        return f"{mount}/{path}" if self.versions[mount] == 1 else f"{mount}/data/{path}"

    def kv(self, mount: str, path: str) -> dict[str, Any] | None:
        """Return all that is kept at a path: for version 2 its metadata, with the data in each version."""
        if self.versions[mount] == 1:
            found = self.ask("GET", self.data(mount, path)).get("data")
            return None if found is None else {"data": found}
        state: dict[str, Any] | None = self.ask("GET", f"{mount}/metadata/{path}").get("data")
        for number, version in state["versions"].items() if state else ():
            version["data"] = self.ask("GET", f"{mount}/data/{path}", version=int(number))["data"]["data"]
        return state

    def put(self, mount: str, path: str, data: Mapping[str, Any]) -> None:
        """Write as a stranger, past all policies and faults."""
        self.do("POST", self.data(mount, path), data if self.versions[mount] == 1 else {"data": data})

    def snapshot(self) -> Snapshot:
        """Return all that is kept; of a version that is deleted, no data."""
        return {
            mount: {path: state for path in self._paths(mount) if (state := self.kv(mount, path))}
            for mount in self.versions
        }

    def restore(self, wanted: Snapshot) -> None:
        """Put all back to what it was, with new times."""
        for mount, now in self.snapshot().items():
            for path in {*now, *wanted[mount]}:
                if now.get(path) != wanted[mount].get(path):
                    self._put_back(mount, path, wanted[mount].get(path))

    def _paths(self, mount: str, folder: str = "") -> Iterator[str]:
        listed = f"{mount}/{folder}" if self.versions[mount] == 1 else f"{mount}/metadata/{folder}"
        for name in (self.ask("LIST", listed).get("data") or {}).get("keys", ()):
            if name.endswith("/"):
                yield from self._paths(mount, folder + name)
            else:
                yield folder + name

    def _put_back(self, mount: str, path: str, state: dict[str, Any] | None) -> None:
        if self.versions[mount] == 1:
            self.do("POST" if state else "DELETE", self.data(mount, path), state and state["data"])
            return
        self.do("DELETE", f"{mount}/metadata/{path}")
        if state is None:
            return
        for number in range(1, state["current_version"] + 1):
            version = state["versions"].get(str(number), {})
            written = {"data": version.get("data") or {}, "options": {"cas": number - 1}}
            self.do("POST", self.data(mount, path), written)
            for word, ended in (("delete", version.get("deletion_time")), ("destroy", version.get("destroyed"))):
                if ended:
                    self.do("POST", f"{mount}/{word}/{path}", {"versions": [number]})
        self.do("POST", f"{mount}/metadata/{path}", {name: state[name] for name in _SETTINGS})
