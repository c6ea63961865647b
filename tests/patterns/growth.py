"""Whether what is done with a text takes time in proportion to its size, or more: measured in this thread's own time.

Not the clock on the wall but the processor's time counts, the least of several runs, and only as a ratio of two sizes:
how fast the machine is, and what else it does, changes nothing. What does not end is ended, so that no run hangs.
"""

import re
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from tests.patterns.collecting import AnyPattern, Use
from tests.patterns.hostile import hostile_to

#: Sizes in characters, sixteen times apart: what is linear grows to 16 times, what is quadratic to 256 times.
_SMALL: Final = 1_024
_LARGE: Final = 16 * _SMALL
_MOST: Final = 64
#: Seconds of processor time. What takes less is not measured: quadratic work on the larger size takes many times that.
_NOTHING: Final = 0.001
#: A first look at the larger size is ended then, and what did not end is measured.
_LOOK: Final = 0.02
#: Hundreds of times what linear work takes on either size.
_ENDLESS: Final = 0.2
_RUNS: Final = 3


class _EndlessError(Exception):
    """It did not end in time."""


def is_superlinear(work: Callable[[int], Callable[[], object]]) -> bool:
    """Tell whether work grows faster than its size; `work(size)` prepares it, and what that returns does it."""
    large = work(_LARGE)
    if _cost(large, _LOOK) < _NOTHING:
        return False
    small = work(_SMALL)
    least = _cost(small, _ENDLESS)
    if least >= _ENDLESS:
        return True
    least = min(least, _cost(small, _ENDLESS), _cost(small, _ENDLESS))
    most = min(max(_MOST * least, _NOTHING), _ENDLESS)
    return all(_cost(large, most) >= most for _ in range(_RUNS))


def worst_of(use: Use) -> str | None:
    """Return a text, in short, on which the pattern takes more than linear time, or None if there is none."""
    for hostile in hostile_to(use.pattern):
        if is_superlinear(lambda size, made=hostile.text: _asking(use.pattern, use.method, made(size))):  # type: ignore[misc]
            return f"{hostile.head!r} + n * {hostile.middle!r} + {hostile.end!r}"
    return None


def _asking(pattern: AnyPattern, method: str, text: str) -> Callable[[], object]:
    """Return what asks the pattern about the text."""
    content: Any = text.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else text
    if method in ("sub", "subn"):
        return lambda: pattern.sub(content[:0], content)
    if method == "finditer":
        return lambda: deque(re.finditer(pattern, content), maxlen=0)
    ask = getattr(pattern, method)
    return lambda: ask(content)


def _cost(act: Callable[[], object], most: float) -> float:
    """Return how many seconds it took; what takes longer than `most` is ended, for `re` looks for signals."""

    def end(*_: object) -> None:
        raise _EndlessError

    before = signal.signal(signal.SIGVTALRM, end)
    begin = time.thread_time()
    try:
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, most)
            act()
            return time.thread_time() - begin
        finally:  # a signal that comes only here is caught as well
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    except _EndlessError:
        return most
    finally:
        signal.signal(signal.SIGVTALRM, before)
