"""Rotation under load, with processes of their own: nobody is refused who loads the new key, or has time left."""

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.conftest import Server, Start, status
from tests.long import LONG, times

ROTATIONS: Final = times(15, 50)
#: How often, and after how many seconds, a client reads the file again: between the write and the activation, some
#: milliseconds, what lies there opens nothing yet.
_TRIES: Final = 200
_PAUSE: Final = 0.02

#: Rotates one key after another, as `flask keys rotate` does, and leaves each a moment to be used in.
_DRIVER: Final = f"""
import sys, time
from datetime import timedelta
from mushu.server.audit import SYSTEM
from mushu.server.core import core_context, context_for
from mushu.server.keys.rotation import RotationRequest, Terms
from mushu.server.lifecycle.context import DeliveryChoice, DeliveryMode
from mushu.server.lifecycle.rotate import rotate
key_id = sys.argv[1]
with core_context():
    for _ in range({ROTATIONS}):
        request = RotationRequest(key_id=key_id, terms=Terms(settle=timedelta(seconds=1)))
        key_id = rotate(context_for(SYSTEM), request, DeliveryChoice(mode=DeliveryMode.SERVER)).key.id
        time.sleep(0.25)
"""


@dataclass
class Client:
    """A service that uses the key from its file, on a thread of its own, until it is told to end."""

    server: Server
    #: Whether it reads the file for each request, or only when it is refused.
    reads_each_time: bool
    answered: int = 0
    reloads: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    def run(self, end: threading.Event) -> None:
        key = self.server.key
        while not end.is_set():
            if self.reads_each_time:
                key = self.server.key
            key = self._ask(key)

    def _ask(self, key: str) -> str:
        """Ask until it is answered; return the key that was accepted, or the last one that was not."""
        for _ in range(_TRIES):
            status, code = asked(self.server, key)
            if status == 200:
                self.answered += 1
                self.keys.add(key)
                return key
            if status != 401:
                break
            time.sleep(_PAUSE)
            self.reloads += 1
            key = self.server.key
        self.failures.append((status, code))
        return key


def asked(server: Server, key: str) -> tuple[int, str]:
    """Return the status of one request, and the code of its refusal."""
    status, document = server.ask("GET", "/orgs", headers={"X-API-Key": key})
    return status, document.get("code", "")


@contextmanager
def at_work(*clients: Client) -> Iterator[None]:
    end = threading.Event()
    threads = [threading.Thread(target=client.run, args=(end,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def rows(server: Server, query: str, *values: str) -> list[tuple[Any, ...]]:
    """Read the database as it is by now."""
    with closing(sqlite3.connect(server.instance / "mushu.sqlite3")) as connection:
        return connection.execute(query, values).fetchall()


def only_key(server: Server) -> str:
    ((key_id,),) = rows(server, "SELECT id FROM api_keys")
    return str(key_id)


def wait_for(server: Server, query: str, *values: str) -> list[tuple[Any, ...]]:
    """Wait until a query finds something, and return it."""
    for _ in range(600):
        if found := rows(server, query, *values):
            return found
        time.sleep(0.05)
    pytest.fail(f"nothing was found in time: {query}")


@pytest.fixture
def server(start: Start) -> Server:
    return start(MUSHU_WORKERS="2", MUSHU_HOUSEKEEPING_SECONDS="1").wait_until_up()


def test_many_rotations_under_load_fail_no_request(server: Server, tmp_path: Path) -> None:
    eager, lazy = Client(server, reads_each_time=True), Client(server, reads_each_time=False)
    with at_work(eager, lazy):
        driver = subprocess.run(
            [sys.executable, "-c", _DRIVER, only_key(server)],
            env=server.environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert driver.returncode == 0, driver.stderr
    assert (eager.failures, lazy.failures) == ([], [])
    assert len(eager.keys) > ROTATIONS // 2, "the keys were not used while they were new"
    assert lazy.reloads > 0, "no key retired while it was in use"
    wait_for(server, "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM api_keys WHERE state = 'retiring')")
    states = dict(rows(server, "SELECT state, count(*) FROM api_keys GROUP BY state"))
    assert states == {"active": 1, "revoked": ROTATIONS}
    assert asked(server, server.key) == (200, "")
    assert server.stop() == 0
    assert "msk_" not in server.output.read_text() + driver.stdout + driver.stderr


def test_a_client_that_keeps_its_key_is_answered_until_it_retires_and_then_told_why(server: Server) -> None:
    old_id, old = only_key(server), server.key
    assert asked(server, old) == (200, "")
    rotated = server.flask("keys", "rotate", old_id, "--settle", "2s")
    assert rotated.returncode == 0, rotated.stderr
    answers = [asked(server, old) for _ in range(50)]
    assert rows(server, "SELECT retires_at FROM api_keys WHERE id = ?", old_id) == [(None,)]
    assert asked(server, server.key) == (200, "")
    moments: list[tuple[datetime, datetime, tuple[int, str]]] = []
    while not moments or moments[-1][2][0] == 200:
        sent = datetime.now(UTC)
        answer = asked(server, old)
        moments.append((sent, datetime.now(UTC), answer))
    assert set(answers) | {answer for *_, answer in moments[:-1]} == {(200, "")}
    *_, (_, refused_at, refusal) = moments
    assert refusal == (401, "deleted_credential")
    ((written,),) = rows(server, "SELECT retires_at FROM api_keys WHERE id = ?", old_id)
    retires_at = datetime.fromisoformat(written).replace(tzinfo=UTC)
    assert refused_at >= retires_at
    assert all(sent < retires_at for sent, _, (status, _) in moments if status == 200)
    wait_for(server, "SELECT 1 FROM api_keys WHERE id = ? AND state = 'revoked'", old_id)
    assert [asked(server, old) for _ in range(20)] == [(401, "deleted_credential")] * 20
    assert asked(server, server.key) == (200, "")


def send(server: Server, number: int) -> tuple[int, int]:
    """Send so many requests, from eight connections at once; return how many were sent, and how many were answered."""
    sent, answered = itertools.count(), itertools.count()

    def ask(some: int) -> None:
        with closing(server.connect()) as connection:
            for _ in range(some):
                next(sent)
                try:
                    if status(connection, "/orgs", {"X-API-Key": key}) == 200:
                        next(answered)
                except (OSError, HTTPException):  # its worker was killed
                    connection.close()

    key = server.key
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, [number // 8 + (place < number % 8) for place in range(8)]))
    return next(sent), next(answered)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT][: times(1, 2)])
def test_what_was_counted_is_written_down_when_the_server_is_stopped(start: Start, number: signal.Signals) -> None:
    each, total = times(1, 33_334), 0
    for _ in range(times(1, 3)):
        server = start(MUSHU_WORKERS="4", MUSHU_USAGE_SECONDS="3600" if each == 1 else "1").wait_until_up()
        assert send(server, each) == (each, each)
        total += each
        assert server.stop(number) == 0
        key_id, requests = counted(server)
        assert requests == total
    shown = json.loads(server.flask("keys", "show", key_id).stdout)
    assert shown["last_used_from"] == "127.0.0.1"
    assert shown["first_used_at"] <= shown["last_used_at"]
    if LONG:
        _kill_while_they_count(start(MUSHU_WORKERS="4").wait_until_up(), total)


def _kill_while_they_count(server: Server, total: int) -> None:
    """Kill a worker every second: at least what was answered is counted, and at most what was sent."""
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send, server, 20_000)
        while not sending.done():
            time.sleep(1)
            os.kill(server.workers[0], signal.SIGKILL)
        sent, answered = sending.result()
    server.wait_until_up()
    server.stop()
    assert total + answered <= counted(server)[1] <= total + sent
    assert answered > 1_000


def counted(server: Server) -> tuple[str, int]:
    """Return the only key that was used, and how often."""
    with closing(sqlite3.connect(server.instance / "mushu-usage.sqlite3")) as connection:
        ((key_id, requests),) = connection.execute("SELECT key_id, requests FROM key_uses").fetchall()
        return key_id, requests
