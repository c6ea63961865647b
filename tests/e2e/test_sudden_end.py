"""The main process is killed by force: nothing of the server is left, and the next one starts where it was."""

import os
import signal
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.e2e.conftest import Server, Start, status
from tests.e2e.test_media import announce, confirm, files, target
from tests.long import times

#: Seconds after which something that must happen has not; nothing here waits for it to pass.
_LONG = 30
#: Of an upload that is larger than what is read before the view begins.
HALF = 1_500_000


def wait_for(happened: Callable[[], object], what: str) -> None:
    end = time.monotonic() + _LONG
    while not happened():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that has ended, and for which nobody has asked yet, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def kill_main(server: Server) -> list[int]:
    """Kill the main process by force, and return the ids of the processes that it leaves."""
    server.process.send_signal(signal.SIGSTOP)  # so that it starts none that we do not see
    wait_for(lambda: " (stopped)" in Path(f"/proc/{server.process.pid}/status").read_text(), "it does not stop")
    left = server.pids[1:]
    server.process.kill()
    assert server.process.wait(_LONG) == -signal.SIGKILL
    return left


def assert_nothing_is_left(pids: list[int], server: Server) -> None:
    wait_for(lambda: not any(map(is_running, pids)), f"of {pids} some are left:\n{server.output.read_text()}")


def started_again(server: Server, start: Start) -> Server:
    again = start("--port", str(server.port))
    again.port = server.port
    return again.wait_until_up()


def assert_the_next_one_serves(server: Server, start: Start) -> None:
    assert started_again(server, start).stop() == 0


@pytest.mark.parametrize("workers", [3, 1][: times(1, 2)])
def test_no_worker_and_no_housekeeping_outlives_it_and_the_port_is_free(start: Start, workers: int) -> None:
    server = start(MUSHU_WORKERS=str(workers)).wait_until_up()
    connection = server.connect()
    assert status(connection, "/health") == 200
    left = kill_main(server)
    assert len(left) > workers, "housekeeping is one of them"
    assert_nothing_is_left(left, server)
    connection.close()
    assert_the_next_one_serves(server, start)


def test_a_worker_that_took_the_place_of_another_ends_with_it_too(start: Start) -> None:
    server = start(MUSHU_HOUSEKEEPING_SECONDS="0").wait_until_up()
    (worker,) = server.workers
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: worker not in server.workers and server.workers, "no other worker comes")
    server.wait_until_up()
    assert_nothing_is_left(kill_main(server), server)


def test_a_request_that_is_under_way_comes_to_its_end(start: Start) -> None:
    server = start().wait_until_up()
    upload = announce(server, 2 * HALF)
    connection = server.connect()
    begin(connection, target(upload["upload_url"]))
    wait_for(lambda: files(server), "the upload does not begin")
    left = kill_main(server)
    wait_for(lambda: "the main process has ended" in server.output.read_text(), "no worker heard of it")
    connection.send(b"x" * HALF)
    assert connection.getresponse().status == 200
    connection.close()
    assert_nothing_is_left(left, server)
    confirm(started_again(server, start), upload)


def test_a_request_that_does_not_come_to_its_end_is_cut_off(start: Start) -> None:
    server = start().wait_until_up()
    connection = server.connect()
    begin(connection, target(announce(server, 2 * HALF)["upload_url"]))
    wait_for(lambda: files(server), "the upload does not begin")
    assert_nothing_is_left(kill_main(server), server)
    connection.close()


@pytest.mark.parametrize("at", ["the first child", "the first worker"][: times(1, 2)])
def test_killed_as_it_starts_it_leaves_nothing_either(start: Start, at: str) -> None:
    server = start(MUSHU_HOUSEKEEPING_SECONDS="0")
    if at == "the first child":
        wait_for(lambda: server.pids[1:], "nothing is prepared")
    else:
        wait_for(lambda: "Spawning worker" in server.output.read_text(), "no worker comes")
    assert_nothing_is_left(kill_main(server), server)
    time.sleep(1.1)  # the lease of an attempt that was cut off, were there one
    assert_the_next_one_serves(server, start)


def begin(connection: HTTPConnection, path: str) -> None:
    """Send the first half of an upload."""
    connection.putrequest("PUT", path)
    connection.putheader("Content-Type", "application/octet-stream")
    connection.putheader("Content-Length", str(2 * HALF))
    connection.endheaders(b"x" * HALF)
