"""A proxy in front of a real server: it lies, stalls and loses answers, which no real one does on request."""

import secrets
import threading
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from tests.vault.bao import Address
from tests.vault.faults import Fault, Faults, Kind
from tests.vault.real import RealVault
from tests.vault.serving import Handler, Logged, served
from tests.vault.upstream import Answer, Asked

#: What is between two neighbours on the way, and not between the two ends.
_HOP_BY_HOP = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "x-vault-namespace"}


class VaultStub(RealVault):
    """A server on loopback, from `with` to the end of it, with a namespace of the real one for itself.

    There are two mounts: `secret` is of version 2, `plain` of version 1.
    `certificate` names one of `tests.cli.certificates`, which then is what it speaks TLS with.
    """

    def __init__(self, server: Address, certificate: str | None = None) -> None:
        super().__init__(server, f"stub-{secrets.token_hex(6)}")
        self._certificate = certificate
        self._closing = threading.Event()
        self._faults = Faults(self, self._forward, self._upstream.lock, self._closing)
        self.requests: list[Logged] = []

    def __enter__(self) -> Self:
        own = {"faults": self._faults, "log": self.requests, "closing": self._closing}
        self._uppermost = RealVault(Address(self.address, self.root_token))
        self._uppermost.namespace(self._within)
        self.mount("secret")
        self.mount("plain", version=1)
        self._server, self.address = served(type("Handler", (Handler,), own), self._certificate)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._faults.clear()
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()
        self._thread.join()
        self._upstream.close()
        self._uppermost.close()  # with the namespace, all that was made in it

    def _forward(self, asked: Asked) -> Answer:
        """Ask the real server in the namespace of the stub, and let nobody see that there is one."""
        headers = {name: value for name, value in asked.headers.items() if name not in _HOP_BY_HOP}
        headers["X-Vault-Namespace"] = self.inside(asked.headers.get("x-vault-namespace", ""))
        answer = self._upstream.ask(asked.method, asked.target, headers, asked.body or None)
        told = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
        return replace(answer, body=answer.body.replace(f"{self._within}/".encode(), b""), headers=told)

    def asked(self, method: str, path: str) -> list[Asked]:
        """Return the requests for a path themselves, with headers and bodies."""
        return [entry.asked for entry in list(self.requests) if (entry.method, entry.path) == (method, path)]

    def fault(self, kind: Kind, method: str = "*", path: str = "*", **how: Any) -> Fault:
        """Plan a fault for the requests that match; paths without `/v1/`, `*` for anything."""
        return self._faults.plan(Fault(kind, method, path, **how))

    def before(self, action: Callable[[], object], method: str = "*", path: str = "*", **how: Any) -> None:
        """Have something done right before a request is looked at: the stranger who is faster."""
        self.fault("call", method, path, action=action, **how)

    def clear_faults(self) -> None:
        self._faults.clear()
