"""Killed anywhere, nothing is lost: real processes, SIGKILL, a real database and real `.env` files.

The report ends with the matrix: at which step a process was killed, and what became of its key after `reconcile`.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from mushu.destination import Destination
from mushu.server.errors import DeliveryFailed, DeliveryUndecided, DestinationHeld
from mushu.testing.processes import fork, wait_for
from tests.conftest import TurnableClock
from tests.long import SEED, times
from tests.server.delivery.conftest import LEASE, MATRIX
from tests.server.delivery.crashing import Act, Process, Stage, delivered, nothing, opened, refuse_second
from tests.server.delivery.killing import (
    count_calls,
    kill_after,
    kill_at_call,
    kill_at_every_step,
    rehearse,
    seconds_of,
)

pytestmark = [pytest.mark.unmeasured, pytest.mark.sqlite]


def _undecided(process: Process, stage: Stage) -> None:
    """A key that is in both files and pending; its lease is over."""
    _cut_off(process, stage, "read")


def _half_way(process: Process, stage: Stage) -> None:
    """A key that is in the first file and pending; its lease is over."""
    _cut_off(process, stage, "write")


class _CutOff(BaseException):
    pass


def _cut_off(process: Process, stage: Stage, method: str) -> None:
    passed = Counter[str]()

    def open_(uri: str) -> Destination:
        destination = opened(uri)
        real = getattr(destination, method)

        def counted(*args: object) -> object:
            passed[uri] += 1
            if uri == stage.uris[1] and passed[uri] == (2 if method == "read" else 1):
                raise _CutOff
            return real(*args)

        setattr(destination, method, counted)
        return destination

    process.open = open_  # type: ignore[method-assign]
    with pytest.raises(_CutOff):
        process.deliver(*stage.uris)
    stage.clock.now += LEASE


SCENARIOS: Final[dict[str, tuple[Act, Act]]] = {
    "create in one file": (nothing, lambda process, stage: process.deliver(stage.uris[0])),
    "create in two files": (nothing, lambda process, stage: process.deliver(*stage.uris)),
    "create, refused by the second": (nothing, refuse_second),
    "delete": (delivered, lambda process, stage: process.delete(process.all_keys()[0].id)),
    "reconcile what arrived": (_undecided, lambda process, stage: process.reconcile()),
    "reconcile what did not": (_half_way, lambda process, stage: process.reconcile()),
}

#: What may become of the key when its process is killed; each must be seen at one step at least.
OUTCOMES: Final = {
    "create in one file": {"nothing minted", "failed", "active"},
    "create in two files": {"nothing minted", "failed", "active"},
    "create, refused by the second": {"nothing minted", "failed"},
    "delete": {"active", "revoked"},
    "reconcile what arrived": {"active"},
    "reconcile what did not": {"failed"},
}


@pytest.fixture
def stage(tmp_path: Path, clock: TurnableClock) -> Stage:
    return Stage(tmp_path / "stage", clock)


#: What is done in one file is done in two as well.
@pytest.mark.parametrize("scenario", [*SCENARIOS][times(1, 0) :])
def test_killed_at_any_step_a_key_is_delivered_or_dead(
    stage: Stage, database_template: Path, scenario: str, record_property: Callable[[str, object], None]
) -> None:
    prepare, act = SCENARIOS[scenario]
    stage.set_up(database_template, prepare)
    assert kill_at_every_step(stage, act, scenario, record_property) == OUTCOMES[scenario]


RANDOM: Final = ("create in two files", "create, refused by the second", "delete")
KILLS: Final = times(5, 20)


@pytest.mark.parametrize("seed", range(SEED, SEED + times(3, 12)))
def test_killed_at_a_random_call(
    stage: Stage, database_template: Path, seed: int, record_property: Callable[[str, object], None]
) -> None:
    scenario = RANDOM[seed % len(RANDOM)]
    prepare, act = SCENARIOS[scenario]
    stage.set_up(database_template, prepare)
    _warm_up(stage, act)
    calls = count_calls(stage, act)
    chance, ended = random.Random(seed), Counter[str]()
    for _ in range(KILLS):
        number = chance.randrange(1, calls)
        killed = kill_at_call(stage, act, number)
        ended[stage.settle() if killed else "survived"] += 1
    record_property(MATRIX, f"{scenario}, seed {seed}: {KILLS} kills at calls 1 to {calls}: {_counted(ended)}")
    assert set(ended) <= OUTCOMES[scenario] | {"survived"}


@pytest.mark.parametrize("seed", range(SEED, SEED + times(1, 12)))
def test_killed_at_a_random_moment(
    stage: Stage, database_template: Path, seed: int, record_property: Callable[[str, object], None]
) -> None:
    scenario = "create in two files"
    prepare, act = SCENARIOS[scenario]
    stage.set_up(database_template, prepare)
    _warm_up(stage, act)
    duration = min(seconds_of(stage, act) for _ in range(3))
    chance, ended = random.Random(seed), Counter[str]()
    for _ in range(KILLS):
        killed = kill_after(stage, act, chance.uniform(0, duration), time.sleep)
        outcome = stage.settle()
        ended[outcome if killed else f"{outcome}, survived"] += 1
    record_property(
        MATRIX, f"{scenario}, seed {seed}: {KILLS} kills within {duration * 1000:.0f} ms: {_counted(ended)}"
    )
    assert {outcome.partition(",")[0] for outcome in ended} <= OUTCOMES[scenario]


def test_two_that_reconcile_far_too_early_and_one_that_delivers_break_no_promise(
    stage: Stage, database_template: Path, record_property: Callable[[str, object], None]
) -> None:
    """Really at the same time. The clocks of the two go ahead, so that every attempt is late in their eyes."""
    stage.set_up(database_template, nothing)
    done = stage.folder / "done"

    def reconcile() -> int:
        stage.clock.now += 2 * LEASE
        while not done.exists():
            with stage.process() as process:
                process.reconcile()
        return 0

    children = [fork(reconcile), fork(reconcile)]
    ended = Counter[str]()
    try:
        with stage.process() as process:
            for _ in range(20):
                ended[_delivered_or_not(process, stage)] += 1
    finally:
        done.touch()
    assert [wait_for(child) for child in children] == [0, 0]
    stage.settle()
    record_property(MATRIX, f"20 deliveries, two that reconcile too early: {_counted(ended)}")


def _delivered_or_not(process: Process, stage: Stage) -> str:
    stage.clock.turn(seconds=1)
    try:
        key = process.deliver(*stage.uris)
    except (DeliveryFailed, DeliveryUndecided, DestinationHeld) as error:
        return error.code
    assert key.stored_state == "active"
    assert stage.held() == [key.digest] * 2
    process.delete(key.id)
    return "active"


def _warm_up(stage: Stage, act: Act) -> None:
    """What a child inherits is compiled then, so that each takes the same steps."""
    rehearse(stage, act)
    stage.settle()


def _counted(ended: Counter[str]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(ended.items()))
