"""What Granian calls for each request."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
from granian.server import mp

from mushu.server.config import Settings
from mushu.server.operation import requests
from mushu.server.operation.listeners import Listeners
from mushu.server.operation.requests import EXCHANGE, Requests, answer
from tests.server.operation.test_polling import until

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


@pytest.mark.fault
def test_a_thread_that_has_answered_without_the_body_never_rests_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection stayed open for as long as the thread rested, and no deadline ended that."""
    listeners, rests = Listeners(1), Mock()
    monkeypatch.setattr(listeners, "come_back_or_rest", rests)
    monkeypatch.setattr(view, "answer_at_once", lambda _: (200, [], b""), raising=False)
    serve = Requests(view, lambda _: None, listeners)
    for number, asked in enumerate((POST, POST | {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}, GET)):
        listeners.current = -1
        serve(Asked(), dict(asked))
        assert (rests.call_count, listeners.current == threading.get_ident()) == (
            (1, False) if number == 2 else (0, True)
        )


def test_what_takes_no_time_is_answered_while_nobody_else_listens_and_others_do_once_it_says_so() -> None:
    listeners, thread = Listeners(1), threading.get_ident()
    seen: list[tuple[bool, int | None]] = []

    class Application:
        def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            exchange = environ[EXCHANGE]
            kept = [*listeners._kept] == [thread]
            exchange.is_read = environ["PATH_INFO"] != "/cut"
            if environ["PATH_INFO"] == "/long":
                exchange.leave()
            seen.append((kept, listeners.current))
            return view(environ, start_response)

        def answers_quickly(self, environ: dict[str, Any]) -> bool:
            return bool(environ["PATH_INFO"] != "/slow")

    serve = Requests(Application(), lambda _: None, listeners)
    serve(Asked(), dict(POST))
    serve(Asked(), dict(POST))
    assert seen == [(False, None), (True, thread)], "kept once it is the one that listens"
    for path, expected in (("/long", (True, None)), ("/slow", (False, None)), ("/cut", (True, thread))):
        serve(asked := Asked(), POST | {"PATH_INFO": path})
        assert (seen[-1], len(asked.answers)) == (expected, 1)
        assert (listeners.current, listeners._kept) == (thread, {})


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


def test_only_a_granian_as_it_is_known_is_taken_over(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    assert requests.can_be_taken_over()
    monkeypatch.setattr(mp, "_wsgi_call_wrap", lambda callback: callback)
    assert not requests.can_be_taken_over()
    sqlite, postgresql = {"database_url": ""}, {"database_url": "postgresql://127.0.0.1/x"}
    expected: list[tuple[dict[str, Any], int]] = [
        (sqlite, 1),
        (sqlite | {"limits_url": "redis://127.0.0.1"}, settings.worker_threads),
        (postgresql, settings.worker_threads),
    ]
    for changed, at_once in expected:
        requests.take_over(replace(settings, **changed))
        made = vars(mp)["_wsgi_call_wrap"](view, {}, None)
        assert isinstance(made, Requests)
        asked = Asked()
        made(asked, dict(GET))
        until(lambda asked=asked: asked.answers == [(201, [("X-Asked", "GET")], b"ab")])  # type: ignore[misc]
        assert made._begin_read.__self__._at_once == at_once  # type: ignore[attr-defined]
    monkeypatch.delattr(mp, "_wsgi_call_wrap")
    assert not requests.can_be_taken_over()
