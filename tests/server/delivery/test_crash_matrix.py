"""Killed at every step, and at random, of everything that is done with a key, in every kind of place.

The report ends with the matrix: at which step a process was killed, and what became of the keys afterwards.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import TurnableClock
from tests.long import LONG, SEED, times
from tests.server.delivery.conftest import MATRIX
from tests.server.delivery.crashing import Act, Stage, delivered, nothing
from tests.server.delivery.killing import count_calls, kill_at_call, kill_at_every_step, rehearse
from tests.vault.bao import Address
from tests.vault.server import VaultStub

pytestmark = [pytest.mark.unmeasured, pytest.mark.sqlite]


PLACES: Final = {"env": ("env",), "vault": ("vault",), "both": ("vault", "env")}
ACTS: Final[dict[str, tuple[Act, Act]]] = {
    "create": (nothing, lambda process, stage: process.deliver(*stage.uris)),
    "rotate": (delivered, lambda process, stage: process.rotate(process.all_keys()[0].id)),
    "delete": (delivered, lambda process, stage: process.delete(process.all_keys()[0].id)),
}
#: In both places an act takes the steps of each; the long form tries each alone, too.
ALL: Final = list(product(ACTS, PLACES if LONG else ["both"]))
all_of_them = pytest.mark.parametrize(("act", "places"), ALL)
#: A rotation takes the steps in which a key is created, too.
at_every_step = pytest.mark.parametrize(("act", "places"), ALL if LONG else ALL[1:])
#: What may become of the keys; each must be seen at one step at least.
OUTCOMES: Final = {
    ("create", "env"): {"nothing minted", "failed", "active"},
    ("create", "vault"): {"nothing minted", "failed", "active"},
    ("create", "both"): {"nothing minted", "failed", "active"},
    # Nothing happened; the new key never came; it took over.
    ("rotate", "env"): {"active", "active/failed", "active/retiring"},
    ("rotate", "vault"): {"active", "active/failed", "active/retiring"},
    # Where the first place had the new key and the second had not, it was done again.
    ("rotate", "both"): {"active", "active/failed", "active/failed/retiring", "active/retiring"},
    ("delete", "env"): {"active", "revoked"},
    ("delete", "vault"): {"active", "revoked"},
    ("delete", "both"): {"active", "revoked"},
}


@pytest.fixture
def vault(openbao: Address) -> Iterator[VaultStub]:
    with VaultStub(openbao) as stub:
        yield stub


@pytest.fixture
def stage(tmp_path: Path, clock: TurnableClock, vault: VaultStub, places: str) -> Stage:
    return Stage(tmp_path / "stage", clock, PLACES[places], vault)


@at_every_step
def test_killed_at_any_step_no_promise_is_broken(
    stage: Stage, database_template: Path, act: str, places: str, record_property: Callable[[str, object], None]
) -> None:
    prepare, work = ACTS[act]
    stage.set_up(database_template, prepare)
    assert kill_at_every_step(stage, work, f"{act} × {places}", record_property) == OUTCOMES[act, places]


KILLS: Final = times(5, 200)


@all_of_them
def test_killed_at_a_random_call_no_promise_is_broken(
    stage: Stage, database_template: Path, act: str, places: str, record_property: Callable[[str, object], None]
) -> None:
    """Between any two calls inside Mushu, its plugins, and the libraries that they and the database stand on."""
    prepare, work = ACTS[act]
    stage.set_up(database_template, prepare)
    rehearse(stage, work)  # what a child inherits is compiled then, so that each takes the same steps
    stage.settle()
    calls = count_calls(stage, work)
    chance, ended = random.Random(f"{SEED} {act} {places}"), Counter[str]()
    for _ in range(KILLS):
        killed = kill_at_call(stage, work, chance.randrange(1, calls))
        ended[stage.settle() if killed else "survived"] += 1
    counted = ", ".join(f"{count} {outcome}" for outcome, count in sorted(ended.items()))
    record_property(MATRIX, f"{act} × {places}: {KILLS} kills at calls 1 to {calls}: {counted}")
    assert set(ended) <= OUTCOMES[act, places] | {"survived"}
