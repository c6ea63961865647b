"""Children made by fork: each runs one function and ends, by itself or killed at a chosen step."""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import CodeType, FrameType
from typing import Any, Final

#: Exit codes of a child, told apart by what its function did.
FINISHED: Final = 0
RAISED: Final = 70

#: Where the code stands, and the C function that it calls, or nothing where a function ends.
Step = tuple[CodeType, int, str]


def fork(work: Callable[[], int]) -> int:
    """Start a child that runs `work` and exits with what it returns; return its process id."""
    with warnings.catch_warnings():
        # Newer Pythons warn where threads run. The child below takes no lock of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    code = RAISED
    try:
        code = work()
    except BaseException:  # a child must not return into the parent's test run
        traceback.print_exc()
    finally:
        os._exit(code)


def wait_for(child: int) -> int:
    """Wait for `child` to end and return its exit code, or minus the number of the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextmanager
def watched(packages: tuple[str, ...], notice: Callable[[Step], None]) -> Iterator[None]:
    """Call `notice` before each call into C that code of `packages` makes in this thread, and when a function ends.

    Other moments look from outside like one of these.
    """

    @cache  # asked at every call of an act, of which there are thousands, and about few modules
    def is_watched(module: object) -> bool:
        return str(module).partition(".")[0] in packages

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event in ("c_call", "return") and is_watched(frame.f_globals.get("__name__")):
            called = getattr(argument, "__qualname__", "") if event == "c_call" else ""
            notice((frame.f_code, frame.f_lasti, called))

    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)


def steps_of(work: Callable[[], object], packages: tuple[str, ...], *, each: bool = True) -> list[int]:
    """Run `work` in this process and return the numbers of its steps, counted from 1.

    A step that is passed many times, in a loop, counts the first time and the last. Unless `each` is asked for, so does
    a kind of step: a call of one C function, from wherever it is made, or the end of a function.
    """
    passed: list[Step] = []
    with watched(packages, passed.append):
        work()
    kinds = [step if each else step[2] for step in passed]
    first = {kind: number for number, kind in reversed(list(enumerate(kinds, 1)))}
    last = {kind: number for number, kind in enumerate(kinds, 1)}
    return sorted({*first.values(), *last.values()})


def kill_at(number: int, work: Callable[[], object], packages: tuple[str, ...]) -> int:
    """Run `work` in a child that is killed with SIGKILL at step `number`; return how it ended, as `wait_for` does."""

    def doomed() -> int:
        passed = 0

        def notice(_step: Step) -> None:
            nonlocal passed
            passed += 1
            if passed == number:
                os.kill(os.getpid(), signal.SIGKILL)

        with watched(packages, notice):
            work()
        return FINISHED

    return wait_for(fork(doomed))
