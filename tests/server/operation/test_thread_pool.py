"""Threads that answer requests: few at work, and those that wait for something do not count."""

import threading
import time

import pytest

from mushu.server.operation import thread_pool
from mushu.server.operation.thread_pool import ThreadPool
from tests.server.operation.test_polling import until

LONG = 30


class Work:
    """What a pool does: it notes who began with what, and each task ends when it may."""

    def __init__(self, at_once: int, most: int) -> None:
        self.begun: list[tuple[str, int]] = []
        self.done: list[str] = []
        #: Tasks that say so as they begin to wait.
        self.waits: set[str] = set()
        self.may_end: dict[str, threading.Event] = {}
        self.pool = ThreadPool("work", self.work, at_once, most)

    def work(self, name: str) -> None:
        self.begun.append((name, threading.get_ident()))
        if name in self.waits:
            self.pool.leave()
        assert self.may_end[name].wait(LONG)
        self.done.append(name)

    def submit(self, *names: str) -> None:
        for name in names:
            self.may_end[name] = threading.Event()
            self.pool.submit((name,))

    def end(self, *names: str) -> None:
        for name in names:
            self.may_end[name].set()
        until(lambda: {*names} <= {*self.done})

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.begun]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_pool, "PATIENCE", LONG)


@pytest.mark.usefixtures("patient")
def test_few_are_at_work_and_the_others_follow_in_their_order() -> None:
    work = Work(2, 4)
    work.submit("a", "b", "c", "d")
    until(lambda: len(work.begun) == 2)
    work.end("a")
    until(lambda: work.names == ["a", "b", "c"])
    work.end("b", "c", "d")
    assert work.names == ["a", "b", "c", "d"]
    assert len({thread for _, thread in work.begun}) == 2


def test_what_waits_for_something_leaves_its_place_to_others_up_to_all_threads() -> None:
    work = Work(1, 3)
    work.submit("a", "b", "c", "d")
    until(lambda: work.names == ["a", "b", "c"])
    time.sleep(3 * thread_pool.PATIENCE)
    assert work.names == ["a", "b", "c"]
    work.end("b", "d")
    work.end("a", "c")
    work.submit("e", "f")
    work.end("e", "f")


@pytest.mark.usefixtures("patient")
def test_one_that_says_that_it_waits_is_followed_at_once() -> None:
    work = Work(1, 3)
    work.waits = {"a"}
    work.submit("a", "b", "c")
    until(lambda: work.names == ["a", "b"])
    work.end("b")
    until(lambda: work.names == ["a", "b", "c"])
    work.end("a", "c")
    work.pool.leave()  # of a thread that is none of the pool
    work.submit("d", "e")
    until(lambda: work.names[3:] == ["d"])
    work.end("d", "e")


@pytest.mark.usefixtures("patient")
def test_the_thread_that_rested_last_works_first() -> None:
    work = Work(3, 3)
    work.submit("a", "b", "c")
    work.end("a", "c", "b")
    until(lambda: len(work.pool._idle) == 3)
    for name in "defg":
        work.submit(name)
        work.end(name)
        until(lambda: len(work.pool._idle) == 3)
    assert len({thread for _, thread in work.begun[3:]}) == 1


def test_nobody_looks_while_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_pool, "_RESTS", 1)
    work = Work(1, 2)
    for names in ("ab", "cd"):
        work.submit(*names)
        until(lambda names=names: {*names} <= {*work.names})  # type: ignore[misc]
        work.end(*names)
        until(lambda: not work.pool._watch._looks)


@pytest.mark.usefixtures("patient")
def test_a_system_that_gives_no_thread_loses_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    work, start = Work(3, 3), threading.Thread.start
    work.submit("a")
    until(lambda: len(work.begun) == 1)
    monkeypatch.setattr(threading.Thread, "start", lambda _: _none())
    work.submit("b")
    work.end("a", "b")
    with pytest.raises(RuntimeError, match="no thread"):
        Work(1, 1).submit("c")
    monkeypatch.setattr(threading.Thread, "start", start)
    work.submit("d", "e")
    work.end("d", "e")


def _none() -> None:
    raise RuntimeError("can't start new thread")
