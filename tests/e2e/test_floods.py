"""nginx with the configuration of docs/slow-clients.md stops floods from one address, and lets other people through."""

import select
import socket
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Server, Start, leave_out
from tests.e2e.proxies import MUSHU, PROGRAMS, running

PAGE = ROOT / "docs" / "slow-clients.md"
#: Where the flood comes from, and where somebody else asks from.
FLOOD, OTHER = "127.0.0.1", "127.0.0.2"
LONG = 30
BEGUN = b"POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"


@pytest.fixture(scope="module")
def server(start_once: Start) -> Server:
    if PROGRAMS["nginx"] is None:
        leave_out("nginx is not installed")
    return start_once(
        MUSHU_CLIENT_ADDRESS_HEADER="Mushuclientip", MUSHU_PUBLIC_URL="https://keys.example.com"
    ).wait_until_up()


def status(port: int, source: str, method: str = "GET", path: str = "/health", body: str | None = None) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=LONG, source_address=(source, 0))
    connection.request(method, path, body, {"Host": "keys.example.com", "Content-Type": "application/json"})
    answered = connection.getresponse().status
    connection.close()
    return answered


def others_are_answered(port: int) -> None:
    assert status(port, OTHER) == 200
    login = '{"email": "nobody@example.com", "password": "not a password"}'
    assert status(port, OTHER, "POST", "/auth/login", login) == 401


def test_requests_that_come_again_at_once_are_refused_in_front(server: Server, tmp_path: Path) -> None:
    with running("nginx", tmp_path / "nginx", {MUSHU: server.port}, PAGE) as port:
        found = [status(port, FLOOD) for _ in range(400)]
        assert set(found) == {200, 429}
        assert found[0] == 200
        others_are_answered(port)


def test_bodies_that_do_not_come_wait_in_front_and_are_bounded(server: Server, tmp_path: Path) -> None:
    with running("nginx", tmp_path / "nginx", {MUSHU: server.port}, PAGE) as port, ExitStack() as opened:
        clients = [opened.enter_context(socket.create_connection((FLOOD, port), LONG)) for _ in range(50)]
        for client in clients:
            client.sendall(BEGUN)
        refused: set[socket.socket] = set()
        while len(refused) < 20:
            found = select.select([client for client in clients if client not in refused], [], [], LONG)[0]
            assert found, "30 wait, and no more"
            refused |= set(found)
        assert {client.recv(12)[9:] for client in refused} == {b"429"}
        assert not select.select([client for client in clients if client not in refused], [], [], 0.2)[0]
        assert server.get("/health") == 200
        others_are_answered(port)
