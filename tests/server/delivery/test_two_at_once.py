"""Two processes at one place, really at the same time, while a stranger changes what lies next to it."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any, Final

import pytest

from mushu.server.errors import DeliveryFailed, DeliveryUndecided, DestinationHeld, WrongState
from mushu.testing.processes import fork, wait_for
from tests.conftest import TurnableClock
from tests.long import times
from tests.server.delivery.conftest import LEASE, MATRIX
from tests.server.delivery.crashing import Process, Stage, nothing
from tests.vault.bao import Address
from tests.vault.server import VaultStub

pytestmark = [pytest.mark.unmeasured, pytest.mark.sqlite]

ROUNDS: Final = times(40, 200)
_PATIENCE: Final = 60.0
_LEASE_IS_OVER: Final = LEASE * 20  # nothing is watched for any more


@pytest.fixture
def stage(tmp_path: Path, clock: TurnableClock, openbao: Address) -> Iterator[Stage]:
    with VaultStub(openbao) as vault:
        yield Stage(tmp_path / "stage", clock, ("vault", "env"), vault)


def _try(process: Process, stage: Stage) -> str:
    """Create where there is no key, rotate where there is one; say what came of it."""
    active = _active(process)
    try:
        if active:
            process.rotate(active[0])
        else:
            process.deliver(*stage.uris)
    except (DestinationHeld, DeliveryFailed, DeliveryUndecided, WrongState) as error:
        return error.code
    return "rotated" if active else "created"


def _active(process: Process) -> list[str]:
    return [key.id for key in process.all_keys() if key.stored_state == "active"]


def _must_be_sound(process: Process, stage: Stage) -> None:
    """Every key that works is in both places, or has made way for one that is."""
    keys = process.all_keys()
    active = [key.digest for key in keys if key.stored_state == "active"]
    assert len(active) <= 1
    assert stage.held() == [active[0] if active else None] * 2


def _race(stage: Stage, number: int, gate: Barrier, noted: Path) -> int:
    ended = Counter[str]()
    with stage.process() as process:
        for turn in range(ROUNDS):
            gate.wait(_PATIENCE)
            ended[_try(process, stage)] += 1
            gate.wait(_PATIENCE)
            if number == 0:  # the other waits meanwhile
                stage.clock.now += _LEASE_IS_OVER
                process.reconcile()
                _must_be_sound(process, stage)
                if turn % 4 == 3:
                    _clear(process)
            else:
                stage.clock.now += _LEASE_IS_OVER
    noted.write_text("\n".join(ended.elements()))
    return 0


def _clear(process: Process) -> None:
    for key in process.all_keys():
        if key.stored_state in ("active", "retiring"):
            process.delete(key.id)


def _count_up(vault: VaultStub, over: Event, noted: Path) -> int:
    """Be the stranger: raise a number beside the key, by the rules, all the time."""
    done = 0
    # Plain: a stranger must not be slower, nor need more of the machine, than what it is to get in the way of.
    with closing(HTTPConnection(vault.address.removeprefix("http://"), timeout=_PATIENCE)) as connection:

        def ask(method: str, body: Any = None) -> tuple[int, Any]:
            headers = {"X-Vault-Token": vault.root_token, "Content-Type": "application/merge-patch+json"}
            content = None if body is None else json.dumps(body)
            connection.request(method, "/v1/secret/data/apps/backend", content, headers)
            answer = connection.getresponse()
            return answer.status, json.load(answer)

        while not over.wait(0.01):
            seen = ask("GET")[1]["data"]
            number = seen["data"].get("NUMBER", 0) + 1
            change = {"data": {"NUMBER": number}, "options": {"cas": seen["metadata"]["version"]}}
            done += ask("PATCH", change)[0] == HTTPStatus.OK
    noted.write_text(str(done))
    return 0


def test_nothing_is_lost_and_no_key_works_without_being_there(
    stage: Stage, database_template: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    stage.set_up(database_template, nothing)
    assert stage.vault is not None
    context = get_context("fork")
    gate, over, vault = context.Barrier(2), context.Event(), stage.vault
    notes = [tmp_path / "first", tmp_path / "second", tmp_path / "stranger"]
    stranger = fork(lambda: _count_up(vault, over, notes[2]))
    racers = [fork(lambda number=number: _race(stage, number, gate, notes[number])) for number in (0, 1)]  # type: ignore[misc]
    ended = [wait_for(racer) for racer in racers]
    over.set()
    assert [*ended, wait_for(stranger)] == [0, 0, 0]
    outcomes = Counter(line for note in notes[:2] for line in note.read_text().split("\n"))
    raised = int(notes[2].read_text())
    record_property(MATRIX, f"{ROUNDS} rounds of two at once, {raised} changes beside them: {dict(outcomes)}")
    found = vault.kv("secret", "apps/backend")
    assert found is not None
    assert found["versions"][str(found["current_version"])]["data"]["NUMBER"] == raised > 0
    assert outcomes["created"] >= ROUNDS // 8
    assert outcomes["rotated"] >= ROUNDS // 4
