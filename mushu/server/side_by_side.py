"""Doing at the same time what mostly waits, and waiting for none of it for ever."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, InvalidStateError, wait
from contextlib import suppress
from threading import Thread
from typing import TypeVar

Result = TypeVar("Result")


def side_by_side(acts: Sequence[Callable[[], Result]], width: int, patience: float) -> list[Result | None]:
    """Call all of them on threads, `width` at a time, and return what they answered, in their order.

    Args:
        patience: seconds that each may take. A thread cannot be stopped: one that takes longer is left behind, makes
            room for the next, and does not outlive the process.

    Returns:
        None for what did not answer in time, or not at all.
    """
    running: dict[Future[Result | None], float] = {}
    begun: list[Future[Result | None]] = []
    for act in acts:
        if len(running) == width:
            _make_room(running)
        future: Future[Result | None] = Future()
        Thread(target=_call, args=(act, future), name="side by side", daemon=True).start()
        running[future] = time.monotonic() + patience
        begun.append(future)
    while running:
        _make_room(running)
    return [future.result() for future in begun]


def _make_room(running: dict[Future[Result | None], float]) -> None:
    """Wait until one of them has ended, or the oldest has had its time."""
    oldest, until = next(iter(running.items()))
    ended = wait(running, max(0, until - time.monotonic()), FIRST_COMPLETED).done
    if not ended:
        _end(oldest, None)
        ended = {oldest}
    for future in ended:
        del running[future]


def _call(act: Callable[[], Result], future: Future[Result | None]) -> None:
    try:
        answer = act()
    except BaseException:  # whatever it is, it ends this act and no other
        _end(future, None)
    else:
        _end(future, answer)


def _end(future: Future[Result | None], answer: Result | None) -> None:
    with suppress(InvalidStateError):  # it was given up, or it ended in the very moment in which it would have been
        future.set_result(answer)
