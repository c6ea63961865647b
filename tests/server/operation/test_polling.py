"""A look from time to time: as long as there is something to see, and again when there is."""

import threading
import time
from collections.abc import Callable

import pytest

from mushu.server.operation.polling import Poller

LONG = 30


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


class Seen:
    """What a look finds; an exception is raised."""

    def __init__(self) -> None:
        self.finds: list[bool | Exception] = []
        self.looks = 0

    def look(self) -> bool:
        self.looks += 1
        found = self.finds.pop(0) if self.finds else False
        if isinstance(found, Exception):
            raise found
        return found


def test_it_looks_until_it_has_seen_nothing_for_long_and_begins_again_in_the_same_thread() -> None:
    seen = Seen()
    watch = Poller("a look", seen.look, 0.001, rests=2)
    before = threading.active_count()
    for expected in (5, 8):  # one or none that finds something, three in vain, and one in the moment of its end
        seen.finds = [True] if seen.looks == 0 else []
        assert watch.begin()
        until(lambda: not watch._looks)
        until(lambda expected=expected: seen.looks >= expected)  # type: ignore[misc]
        time.sleep(0.02)
        assert seen.looks == (5 if expected == 5 else 9)
    assert threading.active_count() == before + 1


def test_what_comes_in_the_moment_of_the_last_look_is_seen() -> None:
    seen = Seen()
    watch = Poller("a look", seen.look, 0.001, rests=0)
    seen.finds = [False, True, False]  # in vain, so it ends; there is something after all; in vain again
    assert watch.begin()
    until(lambda: seen.looks == 4)
    until(lambda: not watch._looks)


def test_a_fault_ends_no_other_look(caplog: pytest.LogCaptureFixture) -> None:
    seen = Seen()
    seen.finds = [RuntimeError("canary"), True]
    watch = Poller("a look", seen.look, 0.001, rests=0)
    assert watch.begin()
    until(lambda: not seen.finds)
    assert caplog.messages == ["a look: nothing can be seen"]


def test_where_the_system_gives_no_thread_it_tells_and_tries_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    seen = Seen()
    watch = Poller("a look", seen.look, 0.001, rests=0)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        assert not watch.begin()
    assert seen.looks == 0
    assert watch.begin()
    until(lambda: seen.looks > 0)
