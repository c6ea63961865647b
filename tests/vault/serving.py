"""HTTP on a port of loopback."""

import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.cli.certificates import certificates
from tests.vault.faults import Cut, Fault, Faults
from tests.vault.upstream import Answer, Asked


@dataclass(frozen=True)
class Logged:
    """One request that was answered; status 0 for one whose connection was cut."""

    asked: Asked
    status: int

    @property
    def method(self) -> str:
        return self.asked.method

    @property
    def path(self) -> str:
        return self.asked.path


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    faults: Faults
    log: list[Logged]
    closing: threading.Event

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        try:
            answer, fault = self.faults.answer(asked)
        except Cut:
            self.log.append(Logged(asked, 0))
            self.close_connection = True
            return
        self.log.append(Logged(asked, answer.status))
        with suppress(OSError):  # the client had enough of it
            self._send(answer, fault)

    def _send(self, answer: Answer, fault: Fault | None) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if fault is not None and fault.kind == "drip":
            self._drip(fault)
            return
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()

    def _drip(self, fault: Fault) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        while not self.closing.wait(fault.seconds or 0.05):
            self.wfile.write(b"1\r\n \r\n")
            self.wfile.flush()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_LIST = _answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class Server(ThreadingHTTPServer):
    """Answers each connection in a thread of its own."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[Handler]) -> None:
        self._open: set[Any] = set()
        super().__init__(address, handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            self._open.discard(request)

    def hang_up(self) -> None:
        """Close what clients have kept open: a server that is gone answers nobody."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # a client that hangs up is no news
        pass


def served(handler: type[Handler], certificate: str | None) -> tuple[Server, str]:
    """Return a server that listens, with TLS if a certificate is named, and its address."""
    server = Server(("127.0.0.1", 0), handler)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates() / f"{certificate}.pem", certificates() / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        scheme = "https"
    return server, f"{scheme}://127.0.0.1:{server.server_address[1]}"
