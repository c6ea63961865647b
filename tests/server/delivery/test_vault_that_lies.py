"""A Vault that lies, stalls, is sealed, denies or sends elsewhere, at each of the requests that a delivery makes.

Whatever it does, a new key works only if it is there, and the old one until there is a new one that works.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from mushu.destination import Surroundings
from mushu.server.audit import SYSTEM
from mushu.server.errors import DeliveryFailed, DeliveryUndecided, DestinationHeld, MushuError
from mushu.server.keys.models import ApiKey
from mushu.server.lifecycle.context import Context
from mushu_vault import VaultDestination, client
from tests.conftest import TurnableClock
from tests.long import times
from tests.server.delivery.conftest import LEASE, MATRIX
from tests.server.delivery.crashing import VAULT_URI, Process, Stage, delivered, nothing
from tests.vault.bao import Address
from tests.vault.faults import Kind
from tests.vault.server import VaultStub

pytestmark = [pytest.mark.unmeasured, pytest.mark.sqlite]

FAULTS: Final[dict[str, dict[str, Any]]] = {
    "cut-before": {},
    "cut-after": {},
    "error-before": {"status": 503, "text": "Vault is sealed"},
    "error-after": {"status": 502, "text": "bad gateway"},
    "redirect": {"location": "https://elsewhere.example/v1/secret/data/apps/backend"},
    "errors-in-200": {},
    "lost": {},
    "stale": {},
    "rate-limit": {"seconds": 1},
    "invalid-json": {},
    "html": {},
    "drip": {"seconds": 0.02},
}
#: Once, or forever from then on.
TIMES: Final = {"create": (1, 1_000), "rotate": (1_000,)}
#: In the short form every request meets a third of the faults, and every fault a third of the requests; where a key is
#: rotated, which brings it in the same steps, a sixth.
EACH: Final = {"create": times(3, 1), "rotate": times(6, 1)}
DENIED: Final = {"status": 403, "text": "permission denied"}
#: A sentence for a person: it begins like one, ends like one, and is longer than a shrug.
_SENTENCE: Final = re.compile(r"[A-Za-z].{30,}\.")


class Impatient(Process):
    """A process that waits half a second or so for an answer, and whose pauses take time."""

    @property
    def context(self) -> Context:
        pause = lambda seconds: self.clock.turn(seconds=seconds)  # noqa: E731
        return Context(self.session, self.clock, SYSTEM, self.open, LEASE, pause)

    def open(self, uri: str) -> VaultDestination:
        assert self.vault is not None
        settings = {"addr": self.vault.address, "token": self.vault.root_token, "timeout": "0.6"}
        found = VaultDestination.parse(uri, Surroundings(Path("/"), settings))
        assert found is not None
        return found


@pytest.fixture
def vault(openbao: Address) -> Iterator[VaultStub]:
    with VaultStub(openbao) as stub:
        yield stub


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask as often as ever where there was no answer, but at once: the clock stands still meanwhile anyway."""
    monkeypatch.setattr("mushu_vault.client._PAUSES", (0.0,) * len(client._PAUSES))


@pytest.fixture
def stage(tmp_path: Path, clock: TurnableClock, vault: VaultStub) -> Stage:
    return Stage(tmp_path / "stage", clock, ("vault",), vault)


def _create(process: Process) -> None:
    process.deliver(VAULT_URI)


def _rotate(process: Process) -> None:
    process.rotate(process.all_keys()[0].id)


ACTS: Final[dict[str, tuple[Callable[[Process, Stage], None], Callable[[Process], None]]]] = {
    "create": (nothing, _create),
    "rotate": (delivered, _rotate),
}


def _impatient(stage: Stage) -> Impatient:
    return Impatient(stage.engine, stage.clock, stage.org_id, stage.vault)


def _try(stage: Stage, act: Callable[[Process], None]) -> MushuError | None:
    process = _impatient(stage)
    try:
        act(process)
    except (DeliveryFailed, DeliveryUndecided, DestinationHeld) as error:
        return error
    finally:
        process.session.close()
        stage.engine.dispose()
    return None


def _must_say_what_to_do(error: MushuError) -> None:
    assert _SENTENCE.search(error.detail), error.detail
    assert "msk_live_" not in error.detail.replace("msk_live_…", "")
    assert "elsewhere.example/v1" not in error.detail


def _must_not_work_wrongly(stage: Stage, old: list[str]) -> None:
    """A key that is new and works is there; one that was there before has not ended."""
    for key in _keys(stage):
        if key.id in old:
            assert key.stored_state in ("active", "retiring")
        elif key.stored_state == "active":
            assert stage.held() == [key.digest]


def _keys(stage: Stage) -> list[ApiKey]:
    with stage.process() as process:
        return process.all_keys()


@pytest.mark.parametrize("kind", [*FAULTS, "denied"])
@pytest.mark.parametrize("act", ACTS)
def test_at_no_request_does_it_make_a_key_work_that_is_not_there(
    stage: Stage,
    vault: VaultStub,
    database_template: Path,
    act: str,
    kind: str,
    record_property: Callable[[str, object], None],
) -> None:
    prepare, work = ACTS[act]
    stage.set_up(database_template, prepare)
    stage.reset()
    old = [key.id for key in _keys(stage)]
    before = len(vault.requests)
    assert _try(stage, work) is None
    asked, ended = len(vault.requests) - before, Counter[str]()
    planned: Kind = "error-before" if kind == "denied" else kind  # type: ignore[assignment]
    for number in range([*FAULTS, "denied"].index(kind) % EACH[act], asked, EACH[act]):
        for often in TIMES[act]:
            stage.reset()
            vault.fault(planned, skip=number, times=often, **(DENIED if kind == "denied" else FAULTS[kind]))
            error = _try(stage, work)
            if error is not None:
                _must_say_what_to_do(error)
            vault.clear_faults()
            _must_not_work_wrongly(stage, old)
            stage.clock.now += LEASE
            ended[f"{error.code if error else 'done'}, then {stage.settle()}"] += 1
    record_property(MATRIX, f"{act}, {kind} at each of {asked} requests: {dict(ended)}")
