"""A small HTTP server that answers what a test tells it to, and remembers what it was asked."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.cli.certificates import certificates


@dataclass(frozen=True)
class Asked:
    """One request that arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


@dataclass(frozen=True)
class Told:
    """One answer: a document, or the bytes of something else."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def data(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Answerer = Callable[[Asked], Told]


class Stub:
    """Answers by method and path; what was told last for a path is told again and again."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Asked] = []
        self._told: dict[tuple[str, str], list[Told | Answerer]] = {}

    def tell(self, method: str, path: str, *answers: Told | Answerer | dict[str, Any]) -> None:
        self._told[method, path] = [Told(answer) if isinstance(answer, dict) else answer for answer in answers]

    def problem(self, method: str, path: str, status: int, code: str, detail: str, **headers: str) -> None:
        self.tell(method, path, problem(status, code, detail, **headers))

    def asked_for(self, method: str, path: str) -> list[Asked]:
        return [asked for asked in self.asked if (asked.method, asked.path) == (method, path)]

    def answer(self, asked: Asked) -> Told:
        self.asked.append(asked)
        told = self._told.get((asked.method, asked.path))
        if not told:
            return problem(404, "not_found", f"Nothing was told for {asked.method} {asked.path}.")
        answer = told.pop(0) if len(told) > 1 else told[0]
        return answer if isinstance(answer, Told) else answer(asked)


def problem(status: int, code: str, detail: str, **headers: str) -> Told:
    named = {"Content-Type": "application/problem+json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return Told({"status": status, "code": code, "detail": detail}, status, named)


class _Handler(BaseHTTPRequestHandler):
    stub: Stub
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        address = urlsplit(self.path)
        asked = Asked(
            self.command,
            address.path,
            parse_qs(address.query),
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(length),
        )
        told = self.stub.answer(asked)
        data = told.data()
        try:
            self.send_response(told.status)
            for name, value in ({"Content-Type": "application/json"} | told.headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()
        except OSError:  # the client had enough of it
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - the names that http.server calls

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:  # a client that hangs up is no news
        pass


@contextmanager
def serving(certificate: str | None = None) -> Iterator[Stub]:
    """Serve on a port of loopback, with TLS if a certificate is named."""
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates() / f"{certificate}.pem", certificates() / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        scheme = "https"
    stub = handler.stub = Stub(f"{scheme}://127.0.0.1:{server.server_address[1]}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
