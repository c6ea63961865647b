"""A service behind the proxies of docs/protect-a-service.md gets what its policy lets pass, and hears who it is.

CVE-2026-39858, CVE-2026-54763, CVE-2026-88011, CVE-2026-30851, CVE-2015-0219: names that fold to one, and headers of
the client that survive. CVE-2026-92443: nginx runs with a cache of everything. CVE-2026-63439: the service listens on
loopback only, as on the page.
"""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.conftest import ROOT, Server, Start, leave_out
from tests.e2e.proxies import MUSHU, PROGRAMS, SERVICE, SOURCE, Headers, Owner, ask, owner_on, running, set_password
from tests.long import LONG

PAGE: Final = ROOT / "docs" / "protect-a-service.md"
HOST: Final = [("Host", "reports.example.com")]
TOLD: Final = (
    "x-mushu-org",
    "x-mushu-key-id",
    "x-mushu-name",
    "x-mushu-scopes",
    "x-mushu-environment",
    "x-mushu-principal",
)
EVIL: Final = "evil"
#: Spellings of a header that a framework may take for ours.
SPELLINGS: Final = [
    f"{x}{first}{mushu}{second}{org}"
    for first, second, (x, mushu, org) in product("-_.", "-_.", (("X", "Mushu", "Org"), ("x", "mUsHu", "ORG")))
]


class Echo(BaseHTTPRequestHandler):
    """The service: tells what it got, and lets caches keep nothing."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def handle_one_request(self) -> None:
        with suppress(ConnectionError):
            super().handle_one_request()

    def answer(self) -> None:
        type(self).asked += 1
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        told = json.dumps({"headers": self.headers.items()}).encode()
        self.send_response(200)
        for name, value in (("Content-Type", "application/json"), ("Cache-Control", "no-store")):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(told)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


class Relay:
    """Stands between a proxy and Mushu, and can make Mushu silent, or take it away."""

    def __init__(self, target: int) -> None:
        self.mode = "pass"
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._run, daemon=True).start()

    def become(self, mode: str) -> None:
        self.mode, opened, self._open = mode, self._open, []
        for one in opened:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def close(self) -> None:
        self._listening.close()
        self.become("away")

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self.mode == "away":
                client.close()
                continue
            self._open.append(client)
            if self.mode == "pass":
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open.append(server)
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while some := source.recv(65_536):
            sink.sendall(some)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextmanager
def echo() -> Iterator[int]:
    service = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    service.daemon_threads = True
    thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield service.server_port
    finally:
        service.shutdown()
        thread.join()
        service.server_close()


@pytest.fixture(scope="module")
def server(start_once: Start) -> Server:
    server = start_once(MUSHU_CLIENT_ADDRESS_HEADER="Mushuclientip").wait_until_up()
    set_password(server)
    return server


@pytest.fixture(scope="module")
def owner(server: Server) -> Owner:
    owner = owner_on(server)
    policy = {"name": "reports", "org_id": owner.org, "scope": "read"}
    assert ask(server.port, "POST", "/policies", owner.credential, policy)[0] == 200
    return owner


class Behind:
    """What a client of the service sees, and what the service saw."""

    def __init__(self, port: int) -> None:
        self._port = port
        while self.ask([])[0] == 404:  # Traefik listens before it knows its routes
            time.sleep(0.05)

    def ask(self, headers: Headers, method: str = "GET", path: str = "/a?b=c") -> tuple[int, dict[str, list[str]]]:
        """Return the status, and what the service got under each name as frameworks fold it; nothing where denied."""
        before = Echo.asked
        status, told = ask(self._port, method, path, [*HOST, *headers])
        assert (status == 200) == (Echo.asked > before), (
            "nothing but what passes reaches the service, and only that is 200"
        )
        got: dict[str, list[str]] = {}
        for name, value in told.get("headers", []):
            got.setdefault(name.lower().replace("_", "-").replace(".", "-"), []).append(value)
        return status, got


def key_header(key: str) -> Headers:
    return [("Authorization", f"ApiKey {key}")]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_service_behind(name: str, owner: Owner, tmp_path: Path) -> None:
    if PROGRAMS[name] is None:
        leave_out(f"{name} is not installed")
    with (
        closing(Relay(owner.server.port)) as relay,
        echo() as service,
        running(name, tmp_path / name, {MUSHU: relay.port, SERVICE: service}, PAGE) as port,
    ):
        behind = Behind(port)
        good, key_id = passes(behind, owner, name)
        refuses(behind, owner, good)
        takes_no_header_of_a_client(behind, good, key_id)
        no_look_alike_of_a_credential_counts(behind, good)
        knows_where_a_client_is(owner, key_id, "unknown" if name == "traefik" else SOURCE)
        denies_without_an_answer(behind, relay, good)


def passes(behind: Behind, owner: Owner, name: str) -> tuple[str, str]:
    key = owner.key(name)
    for sent in (key_header(key), [("Authorization", f"Bearer {key}")], [("X-API-Key", key)]):
        for method in ("GET", "POST", "HEAD", "DELETE"):
            status, got = behind.ask(sent, method)
            assert status == 200
            if method != "HEAD":
                assert {one: got[one] for one in TOLD} == {
                    "x-mushu-org": [owner.org],
                    "x-mushu-key-id": got["x-mushu-principal"],
                    "x-mushu-principal": got["x-mushu-key-id"],
                    "x-mushu-name": [name],
                    "x-mushu-scopes": ["read,write"],
                    "x-mushu-environment": ["live"],
                }
                assert not {"authorization", "x-api-key"} & got.keys(), "the key is for Mushu, not for the service"
    return key, got["x-mushu-key-id"][0]


def refuses(behind: Behind, owner: Owner, good: str) -> None:
    stranger, dead = owner_on(owner.server).key("x"), owner.key("dead")
    for sent, status in (
        ([], 401),
        ([("Authorization", "Basic eDp5")], 401),
        (key_header(good[:-1]), 401),
        ([*key_header(good), ("X-API-Key", dead)], 401),
        (key_header(owner.key("x", "write")), 403),
        (key_header(owner.key("x", prefix="/sandbox")), 403),
        (key_header(stranger), 403),
        (owner.credential, 403),
    ):
        assert behind.ask(sent)[0] == status, sent
    status, got = behind.ask(key_header(dead))
    assert status == 200
    path = f"/orgs/{owner.org}/api-keys/{got['x-mushu-key-id'][0]}"
    assert ask(owner.server.port, "DELETE", path, owner.credential)[0] == 200
    assert behind.ask(key_header(dead))[0] == 401, "deleted a moment ago"
    # Nobody passes by method, path, agent, or what proxies say (CVE-2026-34457, CVE-2026-40575, CVE-2026-33494).
    forged = [("User-Agent", "GoogleHC/1.0"), ("X-Forwarded-Uri", "/health"), ("X-Forwarded-Method", "OPTIONS")]
    for method in ("GET", "HEAD", "POST", "OPTIONS", "PUT"):
        for path in ("/", "/health", "/a/../b", "/%2e%2e/x", "//x", "/x%2f..%2fy", "/?policy=other", "/..;/x"):
            assert behind.ask(forged, method, path)[0] in (301, 307, 308, 400, 401, 403), (method, path)
    for path in ("/health", "//x", "/?policy=other"):
        assert behind.ask(key_header(good), "POST", path)[0] in (200, 301, 307, 308), path


def takes_no_header_of_a_client(behind: Behind, good: str, key_id: str) -> None:
    attacks: list[Headers] = [[(spelled, EVIL)] for spelled in SPELLINGS]
    attacks += [[(a, EVIL), (b, EVIL)] for a, b in (("X-Mushu-Org", "X_Mushu_Org"), ("X_Mushu_Org", "X-Mushu-Org"))]
    attacks += [[(one, EVIL), (one.replace("-", "_"), EVIL)] for one in TOLD]
    attacks += [[("Connection", f"close, {one}"), (one, EVIL)] for one in ("X-Mushu-Org", "x-mushu-principal")]
    for attack in attacks:
        assert behind.ask(attack)[0] in (400, 401), attack
        status, got = behind.ask([*attack, *key_header(good)])
        assert status == 200 or (status == 400 and attack[0][0] == "Connection"), attack
        if status == 200:
            assert EVIL not in [value for one in TOLD for value in got[one]], attack
            assert all(len(got[one]) == 1 for one in TOLD), attack
            assert got["x-mushu-key-id"] == [key_id]


def no_look_alike_of_a_credential_counts(behind: Behind, good: str) -> None:
    for spelled in ("X_API_Key", "x_api-key", "X.API.Key", "X-API_Key", "X-API.Key"):
        assert behind.ask([(spelled, good)])[0] == 401, spelled
        assert behind.ask([(spelled, "x"), ("X-API-Key", good)])[0] == 200, spelled
        assert behind.ask([("X-API-Key", good), (spelled, "x")])[0] == 200, spelled


def knows_where_a_client_is(owner: Owner, key_id: str, address: str) -> None:
    for _ in range(40):
        key = ask(owner.server.port, "GET", f"/orgs/{owner.org}/api-keys/{key_id}", owner.credential)[1]
        if "last_used_from" in key:
            break
        time.sleep(0.1)
    assert key["last_used_from"] == address


def denies_without_an_answer(behind: Behind, relay: Relay, good: str) -> None:
    relay.become("away")
    assert behind.ask(key_header(good))[0] in (500, 502, 503)
    if LONG:  # each waits until it gives up
        relay.become("silent")
        assert behind.ask(key_header(good))[0] in (500, 502, 503, 504)
    relay.become("pass")
    for _ in range(100):  # some look away for a moment from who did not answer
        if behind.ask(key_header(good))[0] == 200:
            return
        time.sleep(0.1)
    raise AssertionError("nobody passes any more")
