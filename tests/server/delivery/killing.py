"""Children that do something on a stage and are killed in the middle of it: at a step, at a call, or after a time."""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import groupby
from types import FrameType
from typing import Any, Final

from mushu.testing.processes import fork, wait_for
from tests.server.delivery.conftest import MATRIX
from tests.server.delivery.crashing import Act, Stage

_WATCHED: Final = ("mushu.", "mushu_dotenv", "mushu_vault", "hvac", "requests", "sqlalchemy.engine")


def _kill_now() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def rehearse(stage: Stage, act: Act) -> list[str]:
    """Return the names of the steps of `act`, in order."""
    stage.reset()
    noticed = stage.folder / "noticed"

    def work() -> int:
        names: list[str] = []
        stage.run(act, names.append)
        noticed.write_text("\n".join(names))
        return 0

    assert wait_for(fork(work)) == 0
    return noticed.read_text().split("\n")


def kill_at_step(stage: Stage, act: Act, number: int) -> None:
    """Run `act` in a child that is killed at a step, counted from 0."""
    stage.reset()

    def work() -> int:
        steps = iter(range(number + 1))

        def notice(_: str) -> None:
            if next(steps) == number:
                _kill_now()

        stage.run(act, notice)
        return 0

    assert wait_for(fork(work)) == -signal.SIGKILL


def kill_at_every_step(stage: Stage, act: Act, title: str, record: Callable[[str, object], None]) -> set[str]:
    """Kill `act` at each of its steps, record the row of the matrix, and return what became of the keys."""
    steps = rehearse(stage, act)
    ended = []
    for number, step in enumerate(steps):
        kill_at_step(stage, act, number)
        ended.append((number + 1, step, stage.settle()))
    record(MATRIX, f"{title}: {len(steps)} steps")
    for outcome, group in groupby(ended, key=lambda row: row[2]):
        (first, begin, _), *_, (last, end, _) = [*group] * 2
        record(MATRIX, f"  {first:3d}-{last:<3d}  {outcome:22s} {begin} … {end}")
    return {outcome for _, _, outcome in ended}


def count_calls(stage: Stage, act: Act) -> int:
    """Return how many calls `act` makes inside Mushu, the plugin and SQLAlchemy's engine."""
    stage.reset()
    counted = stage.folder / "counted"

    def work() -> int:
        passed = Counter[bool]()
        _profile(lambda: passed.update([True]))
        stage.run(act, lambda _: None)
        sys.setprofile(None)
        counted.write_text(str(passed[True]))
        return 0

    assert wait_for(fork(work)) == 0
    return int(counted.read_text())


def kill_at_call(stage: Stage, act: Act, number: int) -> bool:
    """Run `act` in a child that is killed at a call, counted from 1; tell whether it was."""
    stage.reset()

    def work() -> int:
        passed = 0

        def count() -> None:
            nonlocal passed
            passed += 1
            if passed == number:
                _kill_now()

        _profile(count)
        stage.run(act, lambda _: None)
        sys.setprofile(None)
        return 0

    return wait_for(fork(work)) == -signal.SIGKILL


def seconds_of(stage: Stage, act: Act) -> float:
    """Return how long a child takes for `act`. Making the scene is no part of it, or kills would come too late."""
    stage.reset()
    began = time.monotonic()
    assert wait_for(_begun(stage, act)) == 0
    return time.monotonic() - began


def kill_after(stage: Stage, act: Act, seconds: float, sleep: Callable[[float], None]) -> bool:
    """Run `act` in a child that is killed from outside after a time; tell whether it was."""
    stage.reset()
    child = _begun(stage, act)
    sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return wait_for(child) == -signal.SIGKILL


def _begun(stage: Stage, act: Act) -> int:
    def work() -> int:
        stage.run(act, lambda _: None)
        return 0

    return fork(work)


@cache
def _is_watched(module: object) -> bool:
    """Remembered, because it is asked at every call of a whole delivery."""
    return str(module).startswith(_WATCHED)


def _profile(count: Callable[[], None]) -> None:
    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event in ("call", "c_call") and _is_watched(frame.f_globals.get("__name__")):
            count()

    sys.setprofile(profile)
