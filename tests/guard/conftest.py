"""The guard in front of small services: with the real server behind it, or with one that says what a test tells it."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from mushu.guard import Guard, VerifiedKey
from mushu.keyformat import Prefix, generate
from tests.cli.conftest import Served, _Quiet, served
from tests.sdk.conftest import _nothing_of_this_machine
from tests.server.conftest import app, context, core, database_template, settings, world

__all__ = [
    "Served", "_Quiet", "_nothing_of_this_machine", "app", "context", "core", "database_template", "served",
    "settings", "world",
]  # fmt: skip

#: Right in form and checksum, and nobody's.
ASKER = generate(Prefix.LIVE_KEY).reveal()
KEY = generate(Prefix.LIVE_KEY).reveal()

MakeGuard = Callable[..., Guard]


def answered(content: str, status: str = "200 OK", *more: str) -> bytes:
    """Return an answer as it goes over the wire."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", *more]
    return "\r\n".join([*head, "", content]).encode()


def verified(**changed: Any) -> bytes:
    """Return what Mushu says about a good key, but for some fields; None leaves one out."""
    told = {"valid": True, "state": "active", "key_id": "key_aaaaaaaaaaaa", "name": "k", "scopes": ["read"]}
    result = told | {"environment": "live"} | changed
    return answered(json.dumps({"results": [{name: value for name, value in result.items() if value is not None}]}))


@dataclass
class Liar:
    """A server that answers each request with the bytes it was told, and never says more than those."""

    url: str
    answer: bytes = b""
    #: After each answer the connection is closed without a word.
    drops: bool = False
    #: As many further requests of a connection that was used before are answered by closing it, once they are read.
    loses: int = 0
    #: Set whenever the server has closed a connection.
    closed: threading.Event = field(default_factory=threading.Event)
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)


@pytest.fixture
def liar() -> Iterator[Liar]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made = Liar(f"http://127.0.0.1:{listening.getsockname()[1]}")
        threads: list[threading.Thread] = []

        def talk(connection: socket.socket) -> None:
            used = False
            with connection, suppress(OSError):
                while request := connection.recv(65_536):
                    while b"\r\n\r\n" in request and not request.endswith(b"}"):
                        request += connection.recv(65_536)
                    made.requests.append(request)
                    if used and made.loses:
                        made.loses -= 1
                        return
                    ends, used = made.drops, True  # as it was asked; what a test says later is about later requests
                    connection.sendall(made.answer)
                    if ends:
                        break
            made.closed.set()

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    made.connections += 1
                    threads.append(threading.Thread(target=talk, args=(connection,), daemon=True))
                    threads[-1].start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield made
        listening.shutdown(socket.SHUT_RDWR)
    for thread in [accepting, *threads]:
        thread.join(5)


@pytest.fixture
def guards() -> Iterator[MakeGuard]:
    """Makes guards, and closes them."""
    made: list[Guard] = []

    def make(url: str, **settings: Any) -> Guard:
        made.append(Guard(url, **{"key": ASKER} | settings))
        return made[-1]

    yield make
    for guard in made:
        guard.close()


@dataclass(frozen=True)
class Heard:
    """What a client of a service gets."""

    status: int
    headers: dict[str, str]
    body: bytes
    #: What the service was told; None where it was not asked.
    key: VerifiedKey | None

    @property
    def code(self) -> str:
        assert self.headers["Content-Type"] == "application/problem+json"
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        return str(document["code"])


def ask_wsgi(guard: Guard, /, environ: Any = None, **headers: str) -> Heard:
    """Ask a WSGI service that is behind the guard."""
    seen: list[VerifiedKey] = []
    begun: list[Any] = []

    def begin(*given: Any) -> Any:
        begun.extend(given)

    def service(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ["mushu.key"])
        start_response("200 OK", [])
        return [b"hello"]

    sent = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    request = {"REQUEST_METHOD": "GET", "REMOTE_ADDR": "198.51.100.7"} | sent | (environ or {})
    content = guard.wsgi(service)(request, begin)
    return Heard(int(begun[0][:3]), dict(begun[1]), b"".join(content), seen[0] if seen else None)
