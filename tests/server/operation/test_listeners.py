"""Which of Granian's threads listens, which ones rest, and who follows one that has a body."""

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest

from mushu.server.operation import listeners as threads_that_listen
from mushu.server.operation.listeners import Listeners
from mushu.server.operation.requests import EXCHANGE, Requests
from tests.server.operation.test_polling import until
from tests.server.operation.test_requests import GET, LONG, POST, Asked, view


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


def one_that_rests(listeners: Listeners) -> GranianThread:
    """Return a thread in whose place the thread 1 listens."""
    resting = GranianThread(Requests(view, lambda _: None, listeners))
    resting.take(GET)
    until(resting.is_back)
    listeners.come_back(1)
    resting.take(GET)
    until(lambda: len(listeners._resting) == 1)
    return resting


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
    monkeypatch.setattr(threads_that_listen, "TRUSTED", 0.05)
    listeners = Listeners(2)
    resting = one_that_rests(listeners)
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


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_that_listen, "PATIENCE", 0.02)
    monkeypatch.setattr(threads_that_listen, "_WARY", 0.1)
    monkeypatch.setattr(threads_that_listen, "_WARIEST", 0.3)


def test_while_one_answers_what_takes_no_time_no_other_listens() -> None:
    listeners, thread = Listeners(2), threading.get_ident()
    assert not listeners.keep(thread), "it is not the one that listens"
    listeners.come_back(thread)
    assert listeners.keep(thread)
    assert (listeners.current, [*listeners._kept]) == (thread, [thread])
    listeners.come_back(1)
    assert not listeners._replaced, "the thread that answers is not taken to listen"
    listeners.keep_no_more(thread)
    assert not listeners._kept
    listeners.come_back_or_rest(thread)
    assert (listeners.current, [*listeners._replaced]) == (thread, [1])


def test_of_many_that_listened_beside_each_other_few_are_left() -> None:
    """After views with bodies all listened, and those that answer from memory contended for Python's lock."""
    listeners = Listeners(8)

    def view_of_body(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        environ[EXCHANGE].is_read = True
        return view(environ, start_response)

    serve = Requests(view_of_body, lambda _: None, listeners)
    thread = GranianThread(serve)
    for one in (1, 2):
        listeners.come_back(one)
    thread.take(POST)
    until(lambda: len(listeners._resting) == 1)
    assert (listeners.current, [*listeners._replaced]) == (2, [1]), "two others listen"
    listeners._replaced.clear()
    listeners.leave(2)
    until(thread.is_back)
    listeners.come_back(2)
    thread.take(POST)
    until(thread.is_back)
    assert (listeners.current, [*listeners._replaced]) == (thread.ident, [2]), "one other does not suffice"
    serve._quickly = lambda _: True
    listeners._replaced.clear()
    listeners.come_back(2)
    thread.take(POST)
    until(lambda: len(listeners._resting) == 1)
    assert listeners.current == 2, "for what takes no time, one that listens suffices"
    listeners._replaced.clear()
    listeners.leave(2)
    until(thread.is_back)
    thread.end()


@pytest.mark.usefixtures("impatient")
def test_another_one_listens_where_it_takes_longer_and_for_a_while_after_that_at_once() -> None:
    listeners = Listeners(2)
    resting = one_that_rests(listeners)
    assert listeners.keep(1)
    until(resting.is_back)
    assert (listeners.current, listeners._kept) == (resting.ident, {})
    listeners.come_back(1)
    assert not listeners.keep(1), "the next one may be as slow"
    until(lambda: listeners.keep(1))
    resting.end()


@pytest.mark.usefixtures("impatient")
def test_whoever_sends_half_bodies_again_and_again_delays_the_others_ever_less() -> None:
    listeners = Listeners(0)

    def wary_for() -> float:
        listeners.come_back(1)
        until(lambda: listeners.keep(1))
        until(lambda: not listeners._kept)
        return listeners._wary_for

    assert [wary_for() for _ in range(3)] == [0.1, 0.2, 0.3]
    listeners._wary_until -= 30
    assert wary_for() == 0.1


def test_where_nobody_can_look_whether_it_takes_longer_it_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    listeners = Listeners(2)
    monkeypatch.setattr(listeners._watch, "begin", lambda: False)
    listeners.come_back(1)
    assert not listeners.keep(1)
    listeners.leave(1)
    assert not listeners._kept
