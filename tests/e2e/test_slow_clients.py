"""Clients that take their time, against the real server: others are answered meanwhile, and the slow ones are ended.

No clock is asked how long an answer took. What hangs fails by the deadline of a connection, `server.connect`.
`MUSHU_TEST_LONG` lets five hundred of each sort come; otherwise some dozens do.
"""

import json
import os
import resource
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.conftest import Server, Start, leave_out
from tests.e2e.test_media import announce, confirm, put, target

COUNT = 500 if os.environ.get("MUSHU_TEST_LONG") else 60
#: More than one worker of Granian accepts unless it is told another number.
MANY = 1_200
#: Seconds after which something that must happen has not.
LONG = 60
LOGIN = json.dumps({"email": "nobody@example.com", "password": "not a password"})
BEGUN = "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
GET = "GET {path} HTTP/1.1\r\nHost: x\r\n"


IMPATIENT = {"MUSHU_IDLE_SECONDS": "2", "MUSHU_STALL_SECONDS": "3"}


@pytest.fixture(scope="module")
def server(start_once: Start) -> Server:
    """The server of the module: after each test it has to serve the next one."""
    return start_once(**IMPATIENT).wait_until_up()


@pytest.fixture
def own(start: Start) -> Server:
    """A server of the test's own, which it ends, or at which nobody has failed to log in yet."""
    return start(**IMPATIENT).wait_until_up()


@contextmanager
def clients(
    server: Server, count: int, request: str, receive_buffer: int | None = None
) -> Iterator[list[socket.socket]]:
    """Open so many connections, each of which sends this and no more."""
    with ExitStack() as opened:
        found = []
        for _ in range(count):
            client = opened.enter_context(socket.socket())
            if receive_buffer is not None:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            client.settimeout(LONG)
            client.connect(("127.0.0.1", server.port))
            client.sendall(request.encode())
            found.append(client)
        yield found


def answered(server: Server, rounds: int = 5) -> None:
    """Assert that health, and a request that passes the gate, are answered."""
    for _ in range(rounds):
        assert server.get("/health") == 200
        assert server.get("/tenants", {"X-API-Key": server.key}) == 200


def ended(client: socket.socket, most: int = 32 * 1024**2) -> bytes:
    """Wait for the server to end a connection, or to send more than `most`; return what it sent."""
    received = b""
    try:
        while len(received) <= most and (piece := client.recv(65536)):
            received += piece
    except ConnectionError:
        pass
    return received


def logs_in(server: Server) -> bool:
    """Tell whether a whole request with a body gets to the application."""
    connection = server.connect()
    connection.request("POST", "/auth/login", LOGIN, {"Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    return status in (401, 429)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("header", "begins"),
    [("", ""), ("", "{"), ("Expect: 100-continue\r\n", "")],
    ids=["no byte of the body", "one byte of the body", "asked before"],
)
def test_bodies_that_do_not_come_stop_nobody_and_are_ended(server: Server, header: str, begins: str) -> None:
    head = BEGUN.format(path="/auth/login", length=1000).replace("Content-Type", f"{header}Content-Type")
    with clients(server, COUNT, head + begins) as slow:
        answered(server)
        until(lambda: logs_in(server))  # the oldest give way
        for client in slow:
            answer = ended(client).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert answer[9:12] in (b"", b"408", b"503")
    assert logs_in(server)


def test_a_small_body_comes_in_pieces_and_the_next_request_with_its_last(server: Server) -> None:
    body = json.dumps({"key": server.key})
    asked = BEGUN.format(path="/api-keys/validate", length=len(body))
    with clients(server, 1, asked) as (client,):
        for piece in (body[:5], body[5:9], body[9:] + asked + body):
            time.sleep(0.05)
            client.sendall(piece.encode())
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 2 or not received.endswith(b"}\n"):
            received += client.recv(65536)
        assert received.count(b'"valid":true') == 2


def test_clients_that_go_away_within_a_small_body_leave_nothing(server: Server) -> None:
    """Two hundred more say nothing meanwhile; good requests are answered, and so is each of these, in whole."""
    begun = BEGUN.format(path="/auth/login", length=1000) + "{"
    answered(server)
    before = _descriptors(server)
    with clients(server, 200, begun) as silent, clients(server, 20, begun) as ending, clients(server, 20, begun) as cut:
        for client in ending:
            client.shutdown(socket.SHUT_WR)
        for client in cut:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        answered(server)
        until(lambda: logs_in(server))
        for client in silent:
            head, _, body = ended(client).partition(b"\r\n\r\n")
            assert head[9:12] in (b"", b"408", b"503")
            assert not head or json.loads(body)["status"] == int(head[9:12])
    until(lambda: _descriptors(server) < before + 20)


@pytest.mark.fault
def test_bodies_that_trickle_stop_nobody_and_are_ended(server: Server) -> None:
    with clients(server, COUNT, BEGUN.format(path="/auth/login", length=1000)) as slow:
        left = set(slow)
        for _ in range(LONG * 2):
            for client in list(left):
                try:
                    client.send(b" ")
                except OSError:
                    left.remove(client)
            answered(server, rounds=1)
            if not left:
                break
            time.sleep(0.2)
        assert not left
    assert logs_in(server)


@pytest.mark.fault
def test_bodies_that_are_just_fast_enough_keep_nobody_out(server: Server) -> None:
    """More than there are slots, of the largest length that the API takes: each could hold its slot for 17 minutes."""
    with clients(server, 24, BEGUN.format(path="/auth/login", length=1024**2)) as slow:
        for _ in range(8):
            for client in slow:
                with suppress(OSError):
                    client.send(b" " * 1500)
            answered(server, rounds=1)
            until(lambda: logs_in(server))
            time.sleep(1)  # longer than they may stand still, in all
        left = [client for client in slow if not _has_answer(client)]
        assert left, "those that nobody asked to give way are still waited for"
    assert logs_in(server)


@pytest.mark.fault
def test_whatever_can_be_held_is_held_and_reading_goes_on(server: Server) -> None:
    """Uploads and downloads in all places, bodies in all slots, and more that come again as soon as they are ended."""
    size = 32 * 1024**2
    announced = announce(server, size)
    assert put(server, announced["upload_url"], bytes(size)) == 200
    url = target(confirm(server, announced)["url"])
    head = BEGUN.replace("POST", "PUT").replace("application/json", "application/octet-stream")
    uploads = [head.format(path=target(announce(server, size)["upload_url"]), length=size) for _ in range(6)]
    begun = BEGUN.format(path="/auth/login", length=1000)
    with ExitStack() as opened:
        opened.enter_context(clients(server, 6, GET.format(path=url) + "\r\n", receive_buffer=4096))
        for upload in uploads:
            opened.enter_context(clients(server, 1, upload + "x" * 100_000))
        for _ in range(12):
            opened.enter_context(clients(server, 20, begun + "{"))
            answered(server, rounds=2)
    until(lambda: logs_in(server))


@pytest.mark.fault
def test_a_body_of_unsaid_length_that_does_not_come_is_ended(server: Server) -> None:
    chunked = BEGUN.format(path="/auth/login", length=0).replace("Content-Length: 0", "Transfer-Encoding: chunked")
    with clients(server, COUNT, f"{chunked}1\r\n{{\r\n") as slow:
        answered(server)
        for client in slow:
            assert ended(client)[9:12] in (b"", b"408", b"503")


@pytest.mark.fault
def test_a_large_upload_that_stands_still_is_ended_and_leaves_nothing(server: Server) -> None:
    size = 4 * 1024**2
    urls = [announce(server, size)["upload_url"] for _ in range(12)]
    with ExitStack() as opened:
        slow = []
        for url in urls:
            head = BEGUN.format(path=target(url), length=size).replace("POST", "PUT")
            head = head.replace("application/json", "application/octet-stream")
            slow += opened.enter_context(clients(server, 1, head + "x" * 100_000))
        answered(server)
        for client in slow:
            assert ended(client)[9:12] in (b"408", b"503")
    assert put(server, urls[0], b"x" * size) == 200


@pytest.mark.fault
def test_connections_that_say_nothing_are_ended_and_keep_nobody_out(server: Server) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < MANY + 200:
        leave_out(f"a process may open {hard} descriptors here, and this needs {MANY + 200}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with clients(server, MANY, "") as silent:
        answered(server)
        for client in silent:
            assert ended(client) == b""
    answered(server)


@pytest.mark.parametrize("begins", [GET.format(path="/health"), "G", GET.format(path="/health") + "X-A: "])
def test_heads_that_do_not_end_stop_nobody_and_are_ended(server: Server, begins: str) -> None:
    with clients(server, COUNT, begins) as slow:
        answered(server)
        for client in slow:
            ended(client)


def test_connections_that_rest_after_a_request_are_ended(server: Server) -> None:
    with clients(server, COUNT, GET.format(path="/health") + "\r\n") as resting:
        answered(server)
        for client in resting:
            assert ended(client).startswith(b"HTTP/1.1 200")


def test_a_connection_is_used_again_and_again(server: Server) -> None:
    connection = server.connect()
    for _ in range(20):
        for method, path, body in (("GET", "/health", None), ("POST", "/auth/login", LOGIN), ("GET", "/tenants", None)):
            headers = {"X-API-Key": server.key, "Content-Type": "application/json"}
            connection.request(
                method, path, body, headers if path != "/auth/login" else {"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            response.read()
            assert response.status in (200, 401, 429)
    connection.close()


@pytest.mark.fault
@pytest.mark.parametrize("takes", [0, 1], ids=["nothing", "a byte now and then"])
def test_downloads_that_are_not_taken_are_ended_and_others_follow(server: Server, takes: int) -> None:
    announced = announce(server, 32 * 1024**2)
    assert put(server, announced["upload_url"], bytes(32 * 1024**2)) == 200
    url = target(confirm(server, announced)["url"])
    with clients(server, 12, GET.format(path=url) + "\r\n", receive_buffer=4096) as slow:
        answered(server)
        until(lambda: _taken(slow, takes) or server.get(url) == 200)
        # Only one that was ended has made room. Those that were not send on, slowly: the window is small.
        assert any(len(ended(client, 1024**2)) <= 1024**2 for client in slow)
    assert server.get(url) == 200


@pytest.mark.fault
def test_many_logins_at_once_are_refused_or_answered_and_stop_nobody(own: Server) -> None:
    with clients(own, COUNT, BEGUN.format(path="/auth/login", length=len(LOGIN)) + LOGIN) as many:
        answered(own)
        statuses = {client.recv(12)[9:] for client in many}
    assert statuses <= {b"401", b"429", b"503"}
    assert b"503" in statuses
    assert logs_in(own)


@pytest.mark.fault
def test_a_stop_does_not_wait_for_slow_clients(own: Server) -> None:
    begun = BEGUN.format(path="/auth/login", length=1000)
    with clients(own, 20, begun + "{"), clients(own, 20, ""), clients(own, 20, GET.format(path="/health")):
        answered(own)
        assert own.stop() == 0


def test_a_worker_that_was_killed_is_followed_by_one_that_ends_slow_clients_too(own: Server) -> None:
    os.kill(_serving(own), signal.SIGKILL)
    until(lambda: _is_up(own))
    with clients(own, COUNT, BEGUN.format(path="/auth/login", length=1000)) as slow:
        answered(own)
        for client in slow:
            ended(client)


def _descriptors(server: Server) -> int:
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in server.workers)


def _is_up(server: Server) -> bool:
    try:
        return server.get("/health") == 200
    except OSError:
        return False


def _serving(server: Server) -> int:
    """Return the process that answers: of all of them, the one with threads that wait for requests."""
    return max(server.workers, key=lambda pid: len(list(Path(f"/proc/{pid}/task").iterdir())))


def _has_answer(client: socket.socket) -> bool:
    return bool(select.select([client], [], [], 0)[0])


def _taken(slow: list[socket.socket], count: int) -> bool:
    """Take so many bytes of each answer; return whether one of them has ended."""
    try:
        return count > 0 and not all(client.recv(count) for client in slow)
    except ConnectionError:
        return True
