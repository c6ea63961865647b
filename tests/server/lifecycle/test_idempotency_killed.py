"""Killed anywhere, or asked by two processes at once: one Idempotency-Key is one key. Real processes, real files."""

from collections import Counter
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Final

import pytest

from mushu.server.errors import DestinationHeld, InProgress
from mushu.server.idempotency import IdempotencyMark
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.rotation import RotationRequest, Terms
from mushu.server.lifecycle.context import Minted
from mushu.server.lifecycle.issue import issue
from mushu.server.lifecycle.rotate import rotate
from mushu.testing.processes import fork, wait_for
from tests.conftest import TurnableClock
from tests.server.delivery.conftest import LEASE
from tests.server.delivery.crashing import Act, Process, Stage, delivered, nothing
from tests.server.delivery.killing import kill_at_step, rehearse
from tests.server.verbs import by_server

pytestmark = [pytest.mark.unmeasured, pytest.mark.sqlite]

ROUNDS: Final = 20
_PATIENCE: Final = 60.0


@pytest.fixture
def stage(tmp_path: Path, clock: TurnableClock) -> Stage:
    return Stage(tmp_path / "stage", clock, ("env",))


def _mark(number: int = 0) -> IdempotencyMark:
    return IdempotencyMark(f"{number:064}", "b" * 64)


def _create(process: Process, stage: Stage, idempotency: IdempotencyMark | None = None) -> Minted:
    request = KeyRequest(org_id=process.org_id, name="k", idempotency=idempotency or _mark())
    return issue(process.context, request, by_server(*stage.uris))


def _rotate(process: Process, stage: Stage) -> Minted:
    (old,) = [key.id for key in process.all_keys() if key.request_key is None and key.stored_state != "failed"]
    return rotate(process.context, RotationRequest(key_id=old, terms=Terms(), idempotency=_mark()), by_server())


@pytest.mark.parametrize(("prepare", "act"), [(nothing, _create), (delivered, _rotate)], ids=["create", "rotate"])
def test_killed_at_any_step_a_request_that_is_repeated_ends_with_one_key(
    stage: Stage, database_template: Path, prepare: Act, act: Act
) -> None:
    stage.set_up(database_template, prepare)
    steps = rehearse(stage, act)
    told = Counter[str]()
    for number, step in enumerate(steps):
        if step.startswith("before "):  # killed there, it leaves what it leaves when it is killed after the step before
            continue
        kill_at_step(stage, act, number)
        told[_repeated_at_once(stage, act)] += 1
        stage.clock.now += LEASE
        with stage.process() as process:
            again = act(process, stage)
            assert isinstance(again, Minted)
            assert act(process, stage) == again
            active = [key for key in process.all_keys() if key.stored_state == "active"]
            assert [key.id for key in active] == [again.key.id], step
        assert stage.held() == [again.key.digest], step
        assert list(again.delivered_to) == stage.uris
    assert set(told) == {"answered", "in_progress"}


def _repeated_at_once(stage: Stage, act: Act) -> str:
    """Ask again while the lease of the one that was killed runs; there is one key at most that may come to work."""
    with stage.process() as process:
        try:
            act(process, stage)
        except InProgress as error:
            outcome = error.code
        else:
            outcome = "answered"
        new = [key for key in process.all_keys() if key.stored_state in ("pending", "active")]
        assert len([key for key in new if key.request_key is not None]) == 1
    return outcome


def _race(stage: Stage, number: int, gate: Barrier, noted: Path) -> int:
    ended: list[str] = []
    with stage.process() as process:
        for turn in range(ROUNDS):
            gate.wait(_PATIENCE)
            try:
                ended.append(_create(process, stage, _mark(turn)).key.id)
            except (InProgress, DestinationHeld) as error:
                ended.append(error.code)
            gate.wait(_PATIENCE)
            if number == 0:  # the other waits at the gate
                (key_id,) = [key.id for key in process.all_keys() if key.stored_state in ("pending", "active")]
                assert _create(process, stage, _mark(turn)).key.id == key_id
                process.delete(key_id)
            stage.clock.now += 20 * LEASE  # nothing is watched for any more
    noted.write_text("\n".join(ended))
    return 0


def test_of_two_processes_one_mints_and_the_other_finds_its_key_or_waits(
    stage: Stage, database_template: Path, tmp_path: Path
) -> None:
    stage.set_up(database_template, nothing)
    gate = get_context("fork").Barrier(2)
    notes = [tmp_path / "first", tmp_path / "second"]
    racers = [fork(lambda number=number: _race(stage, number, gate, notes[number])) for number in (0, 1)]  # type: ignore[misc]
    assert [wait_for(racer) for racer in racers] == [0, 0]
    rounds = list(zip(*(note.read_text().split("\n") for note in notes), strict=True))
    assert len(rounds) == ROUNDS
    for first, second in rounds:
        keys = {told for told in (first, second) if told.startswith("key_")}
        assert len(keys) == 1, (first, second)
