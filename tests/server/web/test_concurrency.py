"""Slots: whoever comes finds one, unless all that hold one are young or at work."""

import io

import pytest

from mushu.server.config import MOST_LEAVING
from mushu.server.errors import Busy
from mushu.server.web.body_timeouts import Pace, PacedBody, Readers
from mushu.server.web.concurrency import FAIR, Slots

pytestmark = pytest.mark.database

COUNT = 4


class Now:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    found = Now()
    monkeypatch.setattr("mushu.server.web.concurrency.time.monotonic", found)
    return found


@pytest.fixture
def slots(now: Now) -> Slots:
    return Slots(COUNT)


def body() -> PacedBody:
    return PacedBody(io.BytesIO(), Readers(), Pace(30, 1024))


def entered(slots: Slots, count: int = COUNT) -> list[PacedBody]:
    bodies = [body() for _ in range(count)]
    assert all(slots.enter(one) for one in bodies)
    return bodies


def test_there_are_as_many_as_were_asked_for_and_each_is_free_again(slots: Slots) -> None:
    for _ in range(3):
        bodies = entered(slots)
        assert not slots.enter(body())
        for one in bodies:
            assert slots.arrived(one)
            slots.leave(one)


def test_the_body_that_was_waited_for_longest_gives_way(slots: Slots, now: Now) -> None:
    first, second, *_ = entered(slots)
    now.seconds += FAIR
    assert slots.enter(body())
    assert isinstance(first.ended_by, Busy)
    assert second.ended_by is None
    assert not slots.arrived(first)
    assert slots.arrived(second)


def test_a_young_body_does_not(slots: Slots, now: Now) -> None:
    bodies = entered(slots)
    now.seconds += FAIR - 0.01
    assert not slots.enter(body())
    assert [one.ended_by for one in bodies] == [None] * COUNT


def test_a_request_at_work_does_not_however_long_it_takes(slots: Slots, now: Now) -> None:
    for one in entered(slots):
        assert slots.arrived(one)
    now.seconds += 3600
    assert not slots.enter(body())


def test_bodies_that_never_end_keep_nobody_out(slots: Slots, now: Now) -> None:
    """Each request that comes finds a slot, and the slot of one that is done is free for the next."""
    entered(slots)
    for _ in range(100):
        now.seconds += FAIR
        comes = body()
        assert slots.enter(comes)
        assert slots.arrived(comes)
        slots.leave(comes)


def test_those_that_gave_way_and_are_not_answered_yet_are_bounded(now: Now) -> None:
    slots = Slots(MOST_LEAVING + 4)
    bodies = entered(slots, MOST_LEAVING + 4)
    now.seconds += FAIR
    entered(slots, MOST_LEAVING)
    now.seconds += FAIR
    assert not slots.enter(body()), "their threads are not there for more"
    slots.leave(bodies[0])
    assert slots.enter(body())


def test_one_that_gave_way_frees_no_slot_when_it_leaves(slots: Slots, now: Now) -> None:
    old = entered(slots)
    now.seconds += FAIR
    new = entered(slots)
    for one in old:
        slots.leave(one)
    assert not slots.enter(body())
    for one in new:
        slots.leave(one)
    entered(slots)
    assert not slots.enter(body())
