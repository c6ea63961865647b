"""The connection to a real server, and what goes over it."""

import json
import threading
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.vault.bao import Address


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def path(self) -> str:
        """Return what comes after `/v1/`."""
        return unquote(urlsplit(self.target).path).removeprefix("/v1/")


@dataclass(frozen=True)
class Answer:
    """One answer as it is sent."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def answered(status: int, document: Any) -> Answer:
    return Answer(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


class Upstream:
    """Asks one question after the other; whoever holds `lock` is alone with the server."""

    def __init__(self, address: Address) -> None:
        url = urlsplit(address.url)
        kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        self._connection = kind(url.netloc, timeout=30)
        self.lock = threading.RLock()

    def ask(self, method: str, target: str, headers: dict[str, str], body: bytes | None) -> Answer:
        with self.lock:
            self._connection.request(method, target, body, headers)
            answer = self._connection.getresponse()
            return Answer(answer.status, answer.read(), dict(answer.getheaders()))

    def close(self) -> None:
        self._connection.close()
