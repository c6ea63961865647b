"""Small bodies under Granian: the thread of the request reads, and another one answers where it must."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask, request
from werkzeug.test import EnvironBuilder

from mushu.server.config import Settings
from mushu.server.operation.requests import answer
from mushu.server.web.body_slots import FAIR, Slots
from mushu.server.web.body_timeouts import FIRST_PIECE, Pace, Readers
from mushu.server.web.direct_bodies import DirectBody, DirectReads
from mushu.server.web.guard import public
from tests.server.operation.test_polling import until

LONG = 30
pytestmark = pytest.mark.database


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, bodies=1)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have bodies looked at often, and those of a hundred bytes end early."""
    monkeypatch.setattr("mushu.server.web.direct_bodies.LOOK", 0.01)
    monkeypatch.setattr(Pace, "allowed", lambda _, size: 0.05 if size == 100 else LONG)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch, soon: None) -> None:
    monkeypatch.setattr(Pace, "allowed", lambda *_: LONG)


class Connection:
    """One connection with one request: what Granian has of it, and the stream that it gives to the application."""

    def __init__(self, sent: bytes = b"{}", length: int | None = None) -> None:
        self.sent = sent
        self.length = len(sent) if length is None else length
        self.taken = 0
        self.holds = False
        self.ended = threading.Event()
        self.answer: tuple[int, dict[str, str], bytes] | None = None
        self.readers: list[int] = []

    def read(self, size: int, /) -> bytes:
        self.readers.append(threading.get_ident())
        if len(self.sent) < self.length:
            assert self.ended.wait(LONG)
        some = self.sent[self.taken : self.taken + size]
        self.taken += len(some)
        return some

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.answer = self.answer or (status, dict(headers), body)

    def response_iter(self, status: int, headers: list[tuple[str, str]], body: Any) -> None:
        pieces = []
        with suppress(StopIteration):
            while True:
                pieces.append(body.__next__())
        body.close()
        self.response_bytes(status, headers, b"".join(pieces))
        if not self.holds:
            self.ended.set()


Ask = Callable[..., threading.Thread]


@pytest.fixture
def ask(app: Flask) -> Iterator[Ask]:
    """Asks `/view`, which answers with the body, in a thread of its own."""
    app.add_url_rule("/view", "view", public(lambda: request.get_data()), methods=["POST"])
    threads = []

    def begin(connection: Connection, **headers: str) -> threading.Thread:
        scope = EnvironBuilder("/view", method="POST", headers=list(headers.items())).get_environ()
        scope |= {"wsgi.input": connection, "CONTENT_LENGTH": str(connection.length)}

        thread = threading.Thread(target=answer, args=(app, connection, scope))
        thread.start()
        threads.append(thread)
        return thread

    yield begin
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()


def read_directly(ask: Ask, connection: Connection, **headers: str) -> bool:
    """Ask; tell whether the thread of the request itself read the body, which was answered."""
    thread = ask(connection, **headers)
    thread.join(LONG)
    assert connection.answer is not None
    assert connection.answer[::2] == (200, connection.sent[: connection.length])
    return {*connection.readers} == {thread.ident}


def refused(connection: Connection, status: int, code: str) -> None:
    """Assert that the connection was ended, with this refusal as all others look, one byte before its end."""
    until(lambda: connection.answer is not None)
    assert connection.answer is not None
    found, headers, body = connection.answer
    assert (found, headers["Content-Length"], headers["Connection"]) == (status, str(len(body) + 1), "close")
    assert json.loads(body)["code"] == code
    assert {"X-Request-Id", "Cache-Control"} <= headers.keys()


@pytest.mark.fault
def test_a_small_body_needs_no_other_thread(ask: Ask) -> None:
    assert read_directly(ask, Connection(b"x" * FIRST_PIECE))
    assert not read_directly(ask, Connection(b"x" * (FIRST_PIECE + 1)))
    assert not read_directly(ask, Connection(), Expect="100-continue")


def test_under_another_server_each_body_is_read_by_another_thread(ask: Ask, app: Flask) -> None:
    scope = EnvironBuilder("/view", method="POST").get_environ()
    connection = Connection()
    app(scope | {"wsgi.input": connection, "CONTENT_LENGTH": "2"}, lambda *_: lambda _: None)
    assert threading.get_ident() not in connection.readers
    assert read_directly(ask, Connection())


def test_one_that_does_not_come_is_answered_by_another_thread(ask: Ask) -> None:
    connection = Connection(b"{", 100)
    ask(connection).join(LONG)
    refused(connection, 408, "request_timeout")
    assert read_directly(ask, Connection()), "the slot is free again, and the thread"


@pytest.mark.usefixtures("patient")
def test_one_that_is_waited_for_gives_way(ask: Ask) -> None:
    connection = Connection(b"{", 100)
    waiting = ask(connection)
    until(lambda: bool(connection.readers))
    time.sleep(FAIR)
    assert read_directly(ask, Connection())
    waiting.join(LONG)
    refused(connection, 503, "busy")
    assert read_directly(ask, Connection())


@pytest.mark.usefixtures("patient")
def test_a_young_one_does_not(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mushu.server.web.body_slots.FAIR", LONG)
    connection, other = Connection(b"{", 2), Connection()
    ask(connection)
    until(lambda: bool(connection.readers))
    ask(other).join(LONG)
    assert other.answer is not None
    assert (other.answer[0], other.readers) == (503, [])
    connection.sent += b"}"
    connection.ended.set()
    until(lambda: connection.answer is not None)
    assert connection.answer is not None
    assert connection.answer[0] == 200


@pytest.mark.parametrize("error", [None, OSError("connection reset")], ids=["it ends", "an error"])
def test_a_client_that_goes_away_leaves_nothing(ask: Ask, error: Exception | None) -> None:
    class Gone(Connection):
        def read(self, size: int, /) -> bytes:
            if error is not None:
                raise error
            return self.sent[:size]

    connection = Gone(b"{", 100)
    ask(connection).join(LONG)
    assert connection.answer is not None
    assert connection.answer[0] == 400
    assert read_directly(ask, Connection())


def test_until_a_thread_is_back_others_do_not_wait_in_the_same_way(ask: Ask) -> None:
    """A client may delay the end of its connection; its slot is free, though."""
    connection = Connection(b"{", 100)
    connection.holds = True
    thread = ask(connection)
    refused(connection, 408, "request_timeout")
    until(lambda: not read_directly(ask, Connection()))
    connection.ended.set()
    thread.join(LONG)
    assert read_directly(ask, Connection())


def test_a_refusal_that_fails_ends_the_connection_too(app: Flask, ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    def leave() -> None:
        raise SystemExit(1)

    assert read_directly(ask, Connection())
    app.before_request_funcs[None].insert(0, leave)
    connection = Connection(b"{", 100)
    ask(connection).join(LONG)
    assert connection.answer is not None
    assert (connection.answer[0], connection.answer[2]) == (500, b"")
    assert "a request failed" in caplog.messages
    app.before_request_funcs[None].remove(leave)
    assert read_directly(ask, Connection()), "the slot is free again"


def test_there_is_something_to_see_while_a_body_is_waited_for_and_shortly_after_it() -> None:
    slots, readers = Slots(1), Readers()
    reads = DirectReads(slots, readers)
    body = DirectBody(reads, LONG, lambda *_: None)
    assert slots.enter(body)
    assert reads._look()
    slots.leave(body)
    assert reads._look()
    until(lambda: not reads._look())
