"""Media through the real server: large files in little memory, and broken uploads."""

import hashlib
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import Server, Start
from tests.long import times

#: Far more than a worker may grow by.
SIZE = times(512, 2_048) * 1024**2
PIECE = 1024**2
#: What a worker may grow by, whatever the size of a file.
MOST_GROWTH = 100 * 1024**2


@pytest.fixture(scope="module")
def once(start_once: Start) -> Server:
    return start_once().wait_until_up()


@pytest.fixture
def server(once: Server) -> Iterator[Server]:
    """The server of the module, without a file."""
    yield once
    for path in (once.instance / "media").rglob("*"):
        if path.is_file():
            path.unlink()


def announce(server: Server, size: int, content_type: str = "application/octet-stream") -> dict[str, Any]:
    body = {"filename": "a.bin", "content_type": content_type, "size_bytes": size}
    status, document = server.ask("POST", "/media/upload-url", body, {"X-API-Key": server.key})
    assert status == 200, document
    return dict(document)


def confirm(server: Server, announced: dict[str, Any]) -> dict[str, Any]:
    path = f"/media/{announced['media_id']}/confirm"
    status, document = server.ask("POST", path, headers={"X-API-Key": server.key})
    assert status == 200, document
    return dict(document)


def target(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def put(server: Server, url: str, content: bytes) -> int:
    connection = server.connect()
    connection.request("PUT", target(url), content, {"Content-Type": "application/octet-stream"})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


def files(server: Server) -> list[str]:
    return sorted(path.name for path in (server.instance / "media").rglob("*") if path.is_file())


def wait_until_empty(server: Server) -> None:
    end = time.monotonic() + 20
    while files(server) and time.monotonic() < end:
        time.sleep(0.05)
    assert files(server) == []


class Pieces:
    """Bytes without end that no two pieces of are alike; only one is ever held."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self._base = bytearray(os.urandom(PIECE))

    def __iter__(self) -> Iterator[bytes]:
        for number in range(SIZE // PIECE):
            self._base[:8] = number.to_bytes(8, "big")
            piece = bytes(self._base)
            self.digest.update(piece)
            yield piece


class Memory:
    """What the workers of a server hold: their resident memory that is not of files, at its highest."""

    def __init__(self, server: Server) -> None:
        self._pids = server.workers
        self.base = self.now()
        self.highest = self.base

    def now(self) -> int:
        return max(self._resident(pid) for pid in self._pids)

    def look(self) -> None:
        self.highest = max(self.highest, self.now())

    @staticmethod
    def _resident(pid: int) -> int:
        text = Path(f"/proc/{pid}/status").read_text()
        found = re.search(r"^RssAnon:\s+(\d+) kB", text, re.MULTILINE)
        return int(found[1]) * 1024 if found else 0


@pytest.mark.timeout(240)
def test_a_large_file_goes_up_and_down_again_in_little_memory(server: Server) -> None:
    free = shutil.disk_usage(server.instance).free
    assert free > 2 * SIZE, f"this needs {2 * SIZE} bytes of disk below {server.instance}, and {free} bytes are free"
    announced = announce(server, SIZE)
    memory, pieces = Memory(server), Pieces()

    def watched() -> Iterator[bytes]:
        for number, piece in enumerate(pieces):
            if number % 16 == 0:
                memory.look()
            yield piece

    connection = HTTPConnection("127.0.0.1", server.port, timeout=120)
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(SIZE)}
    connection.request("PUT", target(announced["upload_url"]), watched(), headers)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    response.read()
    confirmed = confirm(server, announced)

    received = hashlib.sha256()
    connection.request("GET", target(confirmed["url"]))
    response = connection.getresponse()
    length = 0
    while piece := response.read(PIECE):
        received.update(piece)
        length += len(piece)
        if length % (16 * PIECE) == 0:
            memory.look()
    connection.close()
    assert (length, received.hexdigest()) == (SIZE, pieces.digest.hexdigest())
    grown = memory.highest - memory.base
    assert grown < MOST_GROWTH, f"a worker grew by {grown // 1024**2} MB"


def test_uploads_that_take_their_time_do_not_hold_up_the_api(server: Server) -> None:
    """More of them than there are threads for the API; and what is beyond the places for transfers is told so."""
    size = 2 * 1024**2  # one that is smaller than any body of the API holds no place until it is there
    slow = [begun_upload(server, announce(server, size)["upload_url"], size) for _ in range(8)]
    try:
        for _ in range(20):  # each is waited for, but not for as long as those take
            assert server.get("/media/org/x", {"X-API-Key": server.key}) == 404
        assert put(server, announce(server, 5)["upload_url"], b"Hello") == 503
    finally:
        for connection in slow:
            connection.close()
    wait_until_empty(server)
    assert put(server, announce(server, 5)["upload_url"], b"Hello") == 200


class TestBrokenUploads:
    """Each leaves nothing behind, and the next upload to the same address works."""

    def test_a_connection_that_is_cut(self, server: Server) -> None:
        url = announce(server, 3 * PIECE)["upload_url"]
        connection = begun_upload(server, url, 3 * PIECE, b"x" * PIECE)
        connection.close()
        wait_until_empty(server)
        assert put(server, url, b"x" * 3 * PIECE) == 200

    def test_lengths_that_are_lies(self, server: Server) -> None:
        announced = announce(server, 1000)
        url = announced["upload_url"]
        for said in ("999", "1001", "0", "-1", "1e3", "99999999999999999999"):
            connection = begun_upload(server, url, said, b"x" * (1001 if said == "1001" else 1000))
            status = status_of(connection)
            connection.close()
            assert status in (400, 413, 422), said
        connection = begun_upload(server, url, 1000, b"x" * 1500)  # what is too much is no part of this request
        assert status_of(connection) == 200
        connection.close()
        assert files(server) == [announced["key"]]

    def test_chunks_that_are_not_what_was_announced(self, server: Server) -> None:
        url = announce(server, 1000)["upload_url"]
        for length in (0, 999, 1001, 100_000):
            assert put_in_chunks(server, url, b"x" * length) == 422, length
            wait_until_empty(server)
        assert put_in_chunks(server, url, b"x" * 1000) == 200

    def test_chunks_that_break_off(self, server: Server) -> None:
        url = announce(server, 1000)["upload_url"]
        connection = begun_upload(server, url, None, b"3e8\r\n" + b"x" * 500)
        connection.close()
        wait_until_empty(server)
        assert put(server, url, b"x" * 1000) == 200

    def test_a_client_that_waits_to_be_asked_is_asked_only_if_it_may(self, server: Server) -> None:
        url = announce(server, 1000)["upload_url"]
        refused = begun_upload(server, url.replace("signature=", "signature=0"), 1000, expect=True)
        assert status_of(refused) == 422
        refused.close()
        asked = begun_upload(server, url, 1000, expect=True)
        assert status_of(asked) == 100
        asked.sendall(b"x" * 1000)
        assert status_of(asked) == 200
        asked.close()

    def test_a_large_one_that_is_refused_at_once_hears_why(self, server: Server) -> None:
        url = announce(server, 50 * PIECE)["upload_url"]
        connection = begun_upload(server, url, 50 * PIECE, content_type="text/html")
        assert status_of(connection) == 422
        connection.close()
        assert files(server) == []


def begun_upload(
    server: Server,
    url: str,
    length: int | str | None,
    content: bytes = b"",
    *,
    content_type: str = "application/octet-stream",
    expect: bool = False,
) -> socket.socket:
    """Send the head of an upload and `content` after it; in chunks where `length` is None."""
    lines = [
        f"PUT {target(url)} HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        f"Content-Type: {content_type}",
        "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}",
    ]
    lines += ["Expect: 100-continue"] if expect else []
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
    return connection


def put_in_chunks(server: Server, url: str, content: bytes) -> int:
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (content[:700], content[700:]) if part)
    connection = begun_upload(server, url, None, body + b"0\r\n\r\n")
    try:
        return status_of(connection)
    finally:
        connection.close()


def status_of(connection: socket.socket) -> int:
    """Return the status of the next answer."""
    head = b""
    while b"\r\n\r\n" not in head:
        received = connection.recv(1)
        assert received, head
        head += received
    return int(head.split()[1])
