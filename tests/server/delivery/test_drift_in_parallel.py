"""Doing at the same time what mostly waits: every answer in its place, and nobody waits for what does not come."""

import threading
from collections.abc import Callable

import pytest

from mushu.server.delivery.drift import call_in_parallel

#: Seconds to wait for what must happen; a machine that is busy may need some of them.
_LONG = 60.0


def in_time(acts: list[Callable[[], int]], width: int, patience: float = 10 * _LONG) -> list[int | None]:
    """Do them, and fail if that takes until their patience ends instead of until they do."""
    found: list[list[int | None]] = []
    runner = threading.Thread(target=lambda: found.append(call_in_parallel(acts, width, patience)), daemon=True)
    runner.start()
    runner.join(_LONG)
    assert found, "it waits for what has ended"
    return found[0]


@pytest.mark.parametrize("width", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("count", [0, 1, 3, 50])
def test_answers_stand_in_the_order_of_the_questions(width: int, count: int) -> None:
    assert in_time([lambda number=number: number for number in range(count)], width) == list(range(count))  # type: ignore[misc]


@pytest.mark.parametrize("kind", [ValueError, MemoryError, SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
def test_what_raises_has_ended_and_ends_no_other(kind: type[BaseException]) -> None:
    def fail() -> int:
        raise kind

    assert in_time([fail, lambda: 1, fail, lambda: 2], 2) == [None, 1, None, 2]
    assert in_time([fail] * 5, 1) == [None] * 5


def test_an_answer_that_comes_too_late_is_none() -> None:
    released, late = threading.Event(), threading.Event()

    def hang() -> int:
        released.wait(_LONG)
        late.set()
        return 1

    try:
        assert call_in_parallel([hang, lambda: 2], 1, 0.5) == [None, 2]
    finally:
        released.set()
    assert late.wait(_LONG), "and does no harm"
