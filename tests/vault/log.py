"""What was asked of the stub."""

import threading
from dataclasses import dataclass

from tests.vault.calls import Asked


@dataclass(frozen=True)
class Logged:
    """One request that was answered; status 0 for one whose connection was cut."""

    method: str
    path: str
    status: int


class Log:
    """What was asked, kept apart from what was in it."""

    def __init__(self) -> None:
        self.requests: list[Logged] = []
        self._asked: list[Asked] = []
        self._lock = threading.Lock()

    def add(self, asked: Asked, status: int) -> None:
        with self._lock:
            self.requests.append(Logged(asked.method, asked.path.removeprefix("/v1/"), status))
            self._asked.append(asked)

    def asked(self, method: str, path: str) -> list[Asked]:
        with self._lock:
            return [asked for asked in self._asked if (asked.method, asked.path) == (method, f"/v1/{path}")]
