"""What clients that take their time do to others: medians of `/health` and of a guarded request, as ratios to the calm.

    .venv/bin/python bench/slow_clients.py [CONNECTIONS [SORT …]]

A server of its own is attacked by one sort of client after another; a client whose connection is ended comes again at
once, and one that is answered asks again within a second. `lost` counts requests without an answer within five seconds,
or with another one than 200.
"""

import io
import json
import multiprocessing
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

_KEY = re.compile(r"msk_live_\w{28}")
SAMPLES = 60
PICTURES = 12
FILE = 64 * 1024**2
POST = "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"


@dataclass(frozen=True)
class Sort:
    """What a client sends first, what it sends each second after that, whether it reads, and whether it asks again."""

    first: bytes
    trickle: bytes = b""
    reads: bool = True
    again: bool = False


class Server:
    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        environment = {"MUSHU_INSTANCE_PATH": str(folder / "instance"), "MUSHU_PORT": str(self.port), "PATH": ""}
        command = [sys.executable, "-m", "mushu.server.up"]
        log = (folder / "log").open("w")
        self.process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
        while self.sample("/health", {}) is None:
            time.sleep(0.1)
        text = (folder / "instance" / "first-key.env").read_text()
        found = _KEY.search(text)
        self.headers = {"X-API-Key": found[0] if found else ""}

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> dict[str, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, self.headers | {"Content-Type": kind})
        answer = connection.getresponse()
        document: dict[str, str] = json.loads(answer.read())
        connection.close()
        assert answer.status == 200, document
        return document

    def sample(self, path: str, headers: dict[str, str]) -> float | None:
        """Return how long one request took on a connection of its own; None if it was lost."""
        began = time.perf_counter()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        with suppress(OSError, HTTPException):
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                return time.perf_counter() - began
        connection.close()
        return None

    def measured(self) -> tuple[list[float], list[float], int]:
        """Return how long `/health` and a guarded request took, and how many of either were lost."""
        health, guarded = [], []
        for _ in range(SAMPLES):
            health.append(self.sample("/health", {}))
            guarded.append(self.sample("/tenants", self.headers))
            time.sleep(0.02)
        lost = health.count(None) + guarded.count(None)
        return [took for took in health if took], [took for took in guarded if took], lost

    def upload(self, content: bytes, kind: str, *, confirmed: bool) -> str:
        """Return the address that downloads it, or its id where it is still to be confirmed."""
        described = {"filename": "a", "content_type": kind, "size_bytes": len(content)}
        announced = self.ask("POST", "/media/upload-url", json.dumps(described).encode())
        self.ask("PUT", target(announced["upload_url"]), content, kind)
        media_id = announced["media_id"]
        return target(self.ask("POST", f"/media/{media_id}/confirm")["url"]) if confirmed else media_id


def target(url: str) -> str:
    return f"{urlsplit(url).path}?{urlsplit(url).query}"


def sorts(server: Server) -> Iterator[tuple[str, list[Sort]]]:
    login = json.dumps({"email": "owner@localhost", "password": "a wrong password"})
    begun = (POST % ("/auth/login", 1000, "{")).encode()
    health = b"GET /health HTTP/1.1\r\nHost: x\r\n"
    yield "silent", [Sort(b"")]
    yield "half head", [Sort(health)]
    yield "trickled head", [Sort(health + b"X-A: ", b"a")]
    yield "trickled body", [Sort(begun, b" ")]
    yield "missing body", [Sort(begun)]
    yield "idle keep-alive", [Sort(health + b"\r\n")]
    yield "logins", [Sort((POST % ("/auth/login", len(login), login)).encode(), again=True)]
    url = server.upload(bytes(FILE), "application/octet-stream", confirmed=True)
    yield "unread download", [Sort(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), reads=False)]
    picture = io.BytesIO()
    Image.new("RGB", (7000, 7000), "red").save(picture, "PNG")
    ids = [server.upload(picture.getvalue(), "image/png", confirmed=False) for _ in range(PICTURES)]
    key = f"\r\nX-API-Key: {server.headers['X-API-Key']}\r\n\r\n"
    confirm = [(POST % (f"/media/{media_id}/confirm", 0, "")).replace("\r\n\r\n", key).encode() for media_id in ids]
    yield "large pictures", [Sort(request, again=True) for request in confirm]


def attack(port: int, count: int, kinds: list[Sort]) -> None:
    """Keep so many connections busy, until this process is ended."""
    selector = selectors.DefaultSelector()
    opened: dict[socket.socket, Sort] = {}
    answered: set[socket.socket] = set()

    def come(sort: Sort) -> None:
        client = socket.socket()
        if not sort.reads:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(2)
        with suppress(OSError):
            client.connect(("127.0.0.1", port))
            client.sendall(sort.first)
            client.setblocking(False)
            opened[client] = sort
            if sort.reads:
                selector.register(client, selectors.EVENT_READ)

    trickled = time.monotonic()
    while True:
        for number in range(count - len(opened)):
            come(kinds[number % len(kinds)])
        for key, _ in selector.select(0.1):
            client, sort = key.fileobj, opened[key.fileobj]  # type: ignore[index]
            assert isinstance(client, socket.socket)
            with suppress(OSError):
                if client.recv(65536):
                    answered.add(client)
                    continue
            selector.unregister(client)
            del opened[client]
            answered.discard(client)
            client.close()
        if time.monotonic() - trickled > 1:
            trickled = time.monotonic()
            for client, sort in opened.items():
                with suppress(OSError):
                    client.send(sort.first if sort.again and client in answered else sort.trickle)
            answered.clear()


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(30)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as server:
        server.measured()
        calm = server.measured()
        usual = [statistics.median(times) for times in calm[:2]]
        print(f"calm: /health {usual[0] * 1000:.1f} ms, guarded {usual[1] * 1000:.1f} ms")
        print(f"{f'{count} connections each':20} {'/health':>9} {'worst':>7} {'guarded':>9} {'worst':>7} {'lost':>5}")
        for name, kinds in sorts(server):
            if sys.argv[2:] and name not in sys.argv[2:]:
                continue
            attacker = multiprocessing.Process(target=attack, args=(server.port, count, kinds), daemon=True)
            attacker.start()
            time.sleep(3)
            *answered, lost = server.measured()
            attacker.kill()
            attacker.join()
            cells: list[float] = []
            for times, base in zip(answered, usual, strict=True):
                cells += [statistics.median(times or [5.0]) / base, max(times or [5.0]) / base]
            print(f"{name:20} {cells[0]:8.1f}× {cells[1]:6.0f}× {cells[2]:8.1f}× {cells[3]:6.0f}× {lost:5}", flush=True)
            time.sleep(2)


if __name__ == "__main__":
    main()
