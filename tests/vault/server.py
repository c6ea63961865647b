"""A stand-in for Vault and OpenBao: strict, with a state, and able to fail in every way that a network knows."""

import threading
from collections.abc import Callable
from copy import deepcopy
from types import TracebackType
from typing import Self

from tests.vault.calls import Asked
from tests.vault.control import Control
from tests.vault.core import Core
from tests.vault.faults import Fault, Faults
from tests.vault.log import Log
from tests.vault.serving import Handler, served
from tests.vault.setup import METHODS, SetUp
from tests.vault.system import Mount
from tests.vault.tokens import new_id


class VaultStub(SetUp):
    """A server on loopback, from `with` to the end of it.

    `certificate` names one of `tests.cli.certificates`, which then is what it speaks TLS with.
    `control` opens `/stub/` to other processes.
    """

    def __init__(
        self,
        certificate: str | None = None,
        control: bool = False,
    ) -> None:
        self.root_token = new_id()
        self.address = ""
        self._closing = threading.Event()
        self._certificate = certificate
        core = Core(self.root_token)
        super().__init__(core, Faults(core, self._closing), Log())
        self._control = Control({name: getattr(self, name) for name in METHODS}) if control else None

    def __enter__(self) -> Self:
        own = {"faults": self._faults, "log": self._log, "control": self._control, "closing": self._closing}
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

    def snapshot(self, mount: str) -> Mount:
        """Return all that is kept in a mount, to be put there again."""
        with self._core.lock:
            return deepcopy(self._core.mounts[f"{mount.strip('/')}/"])

    def restore(self, mount: str, snapshot: Mount) -> None:
        with self._core.lock:
            self._core.mounts[f"{mount.strip('/')}/"] = deepcopy(snapshot)

    def asked(self, method: str, path: str) -> list[Asked]:
        """Return the requests themselves, with headers and bodies."""
        return self._log.asked(method, path)

    def before(
        self, action: Callable[[], object], method: str = "*", path: str = "*", times: int = 1, skip: int = 0
    ) -> int:
        """Have something done right before a request is looked at: the stranger who is faster."""
        return self._faults.plan(Fault("call", method, path, times, skip, action=action))
