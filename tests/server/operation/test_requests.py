"""What Granian calls for each request, and which of its threads listens."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import pytest
from granian.server import mp

from mushu.server.config import Settings
from mushu.server.operation import requests
from mushu.server.operation.requests import EXCHANGE, Listeners, Requests, answer
from tests.server.operation.test_thread_pool import until

LONG = 30
GET = {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}
POST = GET | {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "2"}


class Asked:
    """A request as Granian has it, and what it was answered with: the first answer counts."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, list[tuple[str, str]], bytes]] = []

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.answers.append((status, headers, body))

    def response_iter(self, status: int, headers: list[tuple[str, str]], pieces: Any) -> None:
        content = b""
        with suppress(StopIteration):
            while True:
                content += pieces.__next__()
        pieces.close()
        self.response_bytes(status, headers, content)


def view(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    start_response("201 Created", [("X-Asked", environ["REQUEST_METHOD"])])
    return [b"a", b"b"]


def test_what_memory_answers_is_answered_at_once_a_body_in_the_same_thread_and_the_rest_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MUSHU_CANARY", "of the process")
    seen: list[dict[str, Any]] = []

    class Application:
        def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            seen.append(environ)
            return view(environ, start_response)

        def answer_at_once(self, environ: dict[str, Any]) -> Any:
            return (200, [], b"once") if environ["PATH_INFO"] == "/once" else None

    submitted: list[Any] = []
    listeners = Listeners(1)
    serve = Requests(Application(), submitted.append, listeners)
    at_once, read, changed = Asked(), Asked(), Asked()
    serve(at_once, GET | {"PATH_INFO": "/once"})
    assert (at_once.answers, seen, submitted) == ([(200, [], b"once")], [], [])
    serve(read, dict(GET))
    assert (read.answers, len(submitted), submitted[0][0]) == ([], 1, read)
    serve(changed, dict(POST))
    assert changed.answers == [(201, [("X-Asked", "POST")], b"ab")]
    assert "MUSHU_CANARY" not in seen[0], "no setting of the process is part of a request"
    assert seen[0][EXCHANGE].protocol is changed
    assert listeners.current == threading.get_ident()


def test_an_answer_is_sent_whole_or_piece_by_piece_and_a_failure_is_500(caplog: pytest.LogCaptureFixture) -> None:
    closed = []

    class Pieces:
        def __iter__(self) -> Iterator[bytes]:
            return iter((b"1", b"2"))

        def close(self) -> None:
            closed.append(True)

    def fail(*_: Any) -> Any:
        raise SystemExit(1)

    def begun(content: Any) -> Any:
        return lambda _, start_response: (start_response("200 OK", []), content)[1]

    for application, expected in (
        (begun([b"whole"]), (200, [], b"whole")),
        (begun(Pieces()), (200, [], b"12")),
        (begun((b"3",)), (200, [], b"3")),
        (fail, (500, [], b"")),
    ):
        asked = Asked()
        answer(application, asked, dict(GET))
        assert asked.answers == [expected]
    assert (closed, caplog.messages) == ([True], ["a request failed"])


class GranianThread:
    """One of Granian's threads: it takes a request when it is told to."""

    def __init__(self, serve: Requests) -> None:
        self._serve = serve
        self._told: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self.taken = self.returned = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._thread.ident is not None
        self.ident = self._thread.ident

    def _run(self) -> None:
        while (scope := self._told.get()) is not None:
            self._serve(Asked(), dict(scope))
            self.returned += 1

    def take(self, scope: dict[str, Any]) -> None:
        self.taken += 1
        self._told.put(scope)

    def is_back(self) -> bool:
        return self.returned == self.taken

    def end(self) -> None:
        self._told.put(None)
        self._thread.join(LONG)


def test_one_listens_and_another_that_rested_follows_while_it_has_a_body() -> None:
    has_body, ends, listeners = threading.Event(), threading.Event(), Listeners(1)

    def application(_: Any, start_response: Callable[..., Any]) -> Any:
        has_body.set()
        assert ends.wait(LONG)
        start_response("200 OK", [])
        return []

    serve = Requests(application, lambda _: None, listeners)
    first, second = GranianThread(serve), GranianThread(serve)
    for thread in (first, second):
        thread.take(GET)
        until(thread.is_back)
        assert listeners.current == thread.ident
    first.take(GET)
    until(lambda: len(listeners._resting) == 1)
    assert not first.is_back(), "it rests, for another one listens in its place"
    second.take(POST)
    assert has_body.wait(LONG)
    until(first.is_back)
    assert (listeners.current, second.is_back()) == (first.ident, False)
    ends.set()
    until(second.is_back)
    assert listeners.current == second.ident
    first.end()
    second.end()


def test_a_thread_that_granian_ended_is_followed_and_nobody_waits_for_it() -> None:
    listeners = Listeners(1)
    serve = Requests(view, lambda _: None, listeners)
    for _ in range(3):
        thread = GranianThread(serve)
        thread.take(GET)
        until(thread.is_back)
        assert listeners.current == thread.ident
        thread.end()


def test_nobody_is_woken_while_one_that_was_replaced_listens_still() -> None:
    listeners, thread = Listeners(0), threading.get_ident()
    for one in (1, 2, thread):
        listeners.come_back(one)
    for following in (2, 1, None):
        listeners.leave(thread if following == 2 else listeners.current or 0)
        assert listeners.current == following
    listeners.leave(thread)
    listeners.come_back_or_rest(thread)
    assert listeners.current == thread
    listeners.come_back(1)
    listeners.come_back_or_rest(thread)
    assert listeners.current == thread, "no more may rest"


@pytest.mark.fault
def test_one_that_may_have_been_ended_is_not_taken_to_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Granian ends a thread after half a minute without work: all others rested then, and nobody took requests."""
    monkeypatch.setattr(requests, "TRUSTED", 0.05)
    listeners = Listeners(2)
    resting = GranianThread(Requests(view, lambda _: None, listeners))
    resting.take(GET)
    until(resting.is_back)
    listeners.come_back(1)
    resting.take(GET)
    until(lambda: len(listeners._resting) == 1)
    time.sleep(0.1)  # the thread 1 has ended; a new one takes a request with a body
    listeners.leave(2)
    until(resting.is_back)
    assert listeners.current == resting.ident
    listeners.come_back(3)
    time.sleep(0.1)
    resting.take(GET)
    until(resting.is_back)
    assert listeners.current == resting.ident, "it does not rest"
    time.sleep(0.1)
    listeners.leave(resting.ident)
    assert listeners.current is None
    assert not listeners._replaced
    resting.end()


def test_only_a_granian_as_it_is_known_is_taken_over(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    assert requests.can_be_taken_over()
    monkeypatch.setattr(mp, "_wsgi_call_wrap", lambda callback: callback)
    assert not requests.can_be_taken_over()
    for url, at_once in (("", settings.threads), ("postgresql://127.0.0.1/x", settings.worker_threads)):
        requests.take_over(replace(settings, database_url=url))
        made = vars(mp)["_wsgi_call_wrap"](view, {}, None)
        assert isinstance(made, Requests)
        asked = Asked()
        made(asked, dict(GET))
        until(lambda asked=asked: asked.answers == [(201, [("X-Asked", "GET")], b"ab")])  # type: ignore[misc]
        assert made._begin_read.__self__._at_once == at_once  # type: ignore[attr-defined]
    monkeypatch.delattr(mp, "_wsgi_call_wrap")
    assert not requests.can_be_taken_over()
