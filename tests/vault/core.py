"""From a request to its answer, in the order in which the real server decides."""

import threading
from dataclasses import replace

from tests.vault.answers import Answer, Refused, Reply, answered, listed, refusal
from tests.vault.calls import Asked, Call, call_of
from tests.vault.logins import Login
from tests.vault.policies import DEFAULT, WRAPPING, Access, Rules
from tests.vault.system import Mount, System, find_mount
from tests.vault.tokens import Token, Tokens
from tests.vault.wrapping import Wrapping

_OWN = ("auth/token/lookup-self",)
_WRAPPING = ("sys/wrapping/lookup", "sys/wrapping/unwrap")


class Core:
    """The whole state of a server; everything happens under one lock, as every write to one path does."""

    def __init__(self, root_token: str) -> None:
        self.lock = threading.RLock()
        self.sealed = False
        self.redirect_to: str | None = None
        self.namespaces = {""}
        self.mounts: dict[str, Mount] = {}
        self.logins: dict[str, Login] = {}
        self.policies: dict[tuple[str, str], Rules] = {}
        self.tokens = Tokens(root_token)
        self.wrapping = Wrapping(self.tokens)
        self._system = System(self.mounts, self.wrapping)

    def answer(self, asked: Asked) -> Answer:
        with self.lock:
            try:
                return self._answer(asked)
            except Refused as refused:
                return refusal(refused)

    def _answer(self, asked: Asked) -> Answer:
        # 1. What needs no state.
        if not asked.path.startswith("/v1/"):
            raise Refused(404)
        # 2. Whether this server answers at all.
        if self.sealed:
            raise Refused(503, "Vault is sealed")
        if self.redirect_to is not None:
            return Answer(307, b"", {"Location": self.redirect_to + asked.target})
        # 3. What is asked for, where.
        call = self._in_namespace(call_of(asked), asked.headers.get("x-vault-namespace", ""))
        # 4. The answer itself.
        return _sent(call, self._handled(call))

    def _in_namespace(self, call: Call, header: str) -> Call:
        name = header.strip("/")
        namespace = f"{name}/" if name not in ("", "root") else ""
        if namespace not in self.namespaces:
            raise Refused(404, "namespace not found")
        full = namespace + call.path
        deepest = max((known for known in self.namespaces if full.startswith(known)), key=len)
        return replace(call, path=full.removeprefix(deepest), namespace=deepest)

    def _handled(self, call: Call) -> Reply | None:
        if call.path in _WRAPPING:
            self.wrapping.token_of(call)
            if call.path == "sys/wrapping/lookup":
                return self._system.handle(call.at("wrapping/lookup"), None)
        login = self._login(call)
        if login is not None:
            return login
        token = self.tokens.find(call.token)
        if call.path.startswith("sys/internal/ui/mounts/"):
            access = None if token is None else self._access(token)
            return self._system.handle(call.at(call.path.removeprefix("sys/")), access)
        if token is None:
            raise Refused(403, "permission denied")
        if call.path in _OWN + _WRAPPING:
            call = replace(call, namespace=token.namespace)
        return self._used(call, token)

    def _login(self, call: Call) -> Reply | None:
        full = call.namespace + call.path
        for path, login in self.logins.items():
            if full == f"{path}login":
                return login.handle(call.at("login"))
        return None

    def _used(self, call: Call, token: Token) -> Reply | None:
        """Count the use first: even a refused request is one."""
        last = self.tokens.use(token)
        try:
            return self._routed(call, self._access(token))
        finally:
            if last:
                self.tokens.revoke(token.id)

    def _routed(self, call: Call, access: Access) -> Reply | None:
        full = call.namespace + call.path
        mount = find_mount(self.mounts, full)
        if mount is not None:
            call = replace(call, path=full.removeprefix(mount.path) if full != mount.path[:-1] else "")
            if call.operation == "update":
                there = mount.engine.exists(call)
                call = replace(call, operation="create" if there is False else "update")
        if not access.allows(call.operation, full):
            raise Refused(403, listed("permission denied"))
        if mount is not None:
            return mount.engine.handle(call)
        if call.path.startswith("sys/"):
            return self._system.handle(call.at(call.path.removeprefix("sys/")), access)
        if call.path.startswith("auth/token/"):
            return self.tokens.handle(call.at(call.path.removeprefix("auth/token/")))
        raise Refused(404, f'no handler for route "{call.path}". route entry not found.')

    def _access(self, token: Token) -> Access:
        if "root" in token.policies:
            return Access([], root=token.namespace)
        own = {"default": DEFAULT, "response-wrapping": WRAPPING}
        found = [self.policies.get((token.namespace, name), own.get(name, {})) for name in token.policies]
        return Access([(token.namespace, rules) for rules in found])


def _sent(call: Call, reply: Reply | None) -> Answer:
    reads = call.operation in ("read", "list")
    if reply is None:
        return answered(404, {"errors": []}) if reads else answered(204, None)
    if reply.raw:
        empty = reply.data is None and not reply.warnings
        return answered(reply.status, None if empty else reply.document())
    if call.operation == "list" and not (reply.data or reply.warnings or reply.wrap_info):
        return answered(404, {"errors": []})
    return answered(200, reply.document())
