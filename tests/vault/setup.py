"""What a test sets up in the stub, and what it sees behind the scenes; every value can travel as JSON."""

from collections.abc import Iterable, Mapping
from typing import Any

from tests.vault.answers import Reply
from tests.vault.calls import Call
from tests.vault.core import Core
from tests.vault.faults import Fault, Faults, Kind
from tests.vault.kv1 import PlainSecrets
from tests.vault.kv2 import VersionedSecrets
from tests.vault.log import Log, Logged
from tests.vault.logins import Login, Role
from tests.vault.policies import check_rules
from tests.vault.system import Mount
from tests.vault.tokens import Token, new_id, with_default
from tests.vault.wrapping import secret_id_reply


class SetUp:
    """Mounts, policies, tokens, roles, faults. Paths of mounts are full: `ns1/kv` is `kv` in the namespace `ns1`."""

    def __init__(self, core: Core, faults: Faults, log: Log) -> None:
        self._core = core
        self._faults = faults
        self._log = log

    # What the server has

    def namespace(self, path: str) -> None:
        self._core.namespaces.add(f"{path.strip('/')}/")

    def mount(
        self,
        path: str,
        version: int = 2,
        cas_required: bool = False,
        max_versions: int = 0,
    ) -> None:
        """Mount a key-value engine; one that is there is replaced."""
        full = f"{path.strip('/')}/"
        engine: VersionedSecrets | PlainSecrets = PlainSecrets()
        if version == 2:
            engine = VersionedSecrets()
            engine.settings.cas_required = cas_required
            engine.settings.max_versions = max_versions
        with self._core.lock:
            namespace = max((known for known in self._core.namespaces if full.startswith(known)), key=len)
            self._core.mounts[full] = Mount(full, namespace, version, engine)

    def seal(self) -> None:
        self._core.sealed = True

    def unseal(self) -> None:
        self._core.sealed = False

    def standby(self, redirect_to: str | None = None) -> None:
        """Send every request on to another server; None makes this one active again."""
        self._core.redirect_to = redirect_to

    # Who may ask

    def policy(self, name: str, rules: Mapping[str, Iterable[str]], namespace: str = "") -> None:
        """Raises: ValueError, for what the real server would not take."""
        kept = {path: list(words) for path, words in rules.items()}
        check_rules(kept)
        self._core.policies[_inside(namespace), name] = kept

    def token(self, policies: Iterable[str] = (), ttl: int = 3600, num_uses: int = 0, namespace: str = "") -> str:
        inside = _inside(namespace)
        token = Token(new_id(inside), with_default(policies), inside, ttl, num_uses, renewable=True, orphan=True)
        return self._core.tokens.add(token).id

    def expire(self, token: str) -> None:
        self._core.tokens.expire(token)

    def revoke(self, token: str) -> None:
        self._core.tokens.revoke(token)

    # How they log in

    def approle(
        self,
        role: str,
        policies: Iterable[str],
        mount: str = "approle",
        namespace: str = "",
        token_ttl: int = 0,
        token_num_uses: int = 0,
        secret_id_num_uses: int = 0,
        bind_secret_id: bool = True,
    ) -> tuple[str, str]:
        """Return the role id and a secret id of the role."""
        new = Role(list(policies), token_ttl, token_num_uses, secret_id_num_uses, bind_secret_id)
        self._login("approle", mount, namespace).roles[role] = new
        return new.role_id, new.new_secret_id()

    def secret_id(self, role: str, mount: str = "approle", namespace: str = "") -> str:
        return self._login("approle", mount, namespace).roles[role].new_secret_id()

    def wrapped_secret_id(self, role: str, mount: str = "approle", namespace: str = "", ttl: int = 60) -> str:
        """Return a wrapping token that unwraps to a new secret id of a role."""
        found = self._login("approle", mount, namespace).roles[role]
        answer = secret_id_reply(found.new_secret_id(), found.secret_id_num_uses)
        path = f"auth/{mount}/role/{role}/secret-id"
        reply = self._core.wrapping.wrap(answer, ttl, path, _inside(namespace))
        return str((reply.wrap_info or {})["token"])

    def wrap(self, data: Mapping[str, Any], ttl: int = 60, creation_path: str = "sys/wrapping/wrap") -> str:
        """Return a wrapping token that unwraps to any data."""
        reply = self._core.wrapping.wrap(Reply(dict(data)), ttl, creation_path)
        return str((reply.wrap_info or {})["token"])

    def kubernetes_role(
        self,
        role: str,
        jwt: str,
        policies: Iterable[str],
        mount: str = "kubernetes",
        namespace: str = "",
        token_ttl: int = 0,
    ) -> None:
        new = Role(list(policies), token_ttl, jwts={jwt})
        self._login("kubernetes", mount, namespace).roles[role] = new

    def jwt_role(
        self,
        role: str,
        jwt: str,
        policies: Iterable[str],
        mount: str = "jwt",
        namespace: str = "",
        token_ttl: int = 0,
    ) -> None:
        self._login("jwt", mount, namespace).roles[role] = Role(list(policies), token_ttl, jwts={jwt})

    def _login(self, kind: str, mount: str, namespace: str) -> Login:
        inside = _inside(namespace)
        path = f"{inside}auth/{mount.strip('/')}/"
        return self._core.logins.setdefault(path, Login(kind, mount.strip("/"), inside, self._core.tokens))

    # What is kept

    def kv(self, mount: str, path: str) -> dict[str, Any] | None:
        """Return all that is kept at a path: for version 2 its metadata, with the data in each version."""
        with self._core.lock:
            engine = self._core.mounts[f"{mount.strip('/')}/"].engine
            if isinstance(engine, PlainSecrets):
                found = engine.handle(Call("read", path))
                return None if found is None else {"data": found.data}
            secret = engine.secrets.get(path)
            if secret is None:
                return None
            state = secret.metadata()
            for number, version in secret.versions.items():
                state["versions"][str(number)]["data"] = version.data
            return state

    def put(self, mount: str, path: str, data: Mapping[str, Any]) -> None:
        """Write as a stranger, past all policies and faults."""
        with self._core.lock:
            engine = self._core.mounts[f"{mount.strip('/')}/"].engine
            if isinstance(engine, PlainSecrets):
                engine.handle(Call("update", path, dict(data)))
                return
            current = engine.secrets[path].current if path in engine.secrets else 0
            engine.handle(Call("update", f"data/{path}", {"data": dict(data), "options": {"cas": current}}))

    # What was asked

    @property
    def requests(self) -> list[Logged]:
        """What was asked so far: method, path without `/v1/`, status; status 0 for a connection that was cut."""
        return [Logged(method, path, status) for method, path, status in self.logged()]

    def logged(self) -> list[tuple[str, str, int]]:
        return [(entry.method, entry.path, entry.status) for entry in list(self._log.requests)]

    def bodies(self, method: str, path: str) -> list[str]:
        return [asked.body.decode() for asked in self._log.asked(method, path)]

    # What goes wrong

    def fault(
        self,
        kind: Kind,
        method: str = "*",
        path: str = "*",
        times: int = 1,
        skip: int = 0,
        seconds: float = 0.0,
        status: int = 500,
        text: str = "internal error",
        location: str = "",
        size: int = 64 * 1024 * 1024,
    ) -> int:
        """Plan a fault for the requests that match; paths without `/v1/`, `*` for anything. Return its number."""
        return self._faults.plan(Fault(kind, method, path, times, skip, seconds, status, text, location, size))

    def fault_hits(self, number: int) -> int:
        return self._faults.get(number).hits

    def fault_reached(self, number: int, timeout: float = 10.0) -> bool:
        """Wait until a request has run into a fault."""
        return self._faults.get(number).reached.wait(timeout)

    def release(self, number: int) -> None:
        """Let go what a `hold` holds."""
        self._faults.get(number).released.set()

    def clear_faults(self) -> None:
        self._faults.clear()


def _inside(namespace: str) -> str:
    return f"{namespace.strip('/')}/" if namespace.strip("/") else ""


METHODS = tuple(name for name, value in vars(SetUp).items() if callable(value) and not name.startswith("_"))
