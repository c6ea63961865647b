"""The keys of an organization about which something unusual is to be told: each kind is found among all others."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.delivery.activation import activate
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import Terms, begin
from mushu.server.keys.service import change_state, get_key
from mushu.server.keys.states import DELETE
from mushu.server.orgs.models import Organization
from mushu.server.usage import Recorder
from mushu.server.usage.report import MOST, unusual_keys, usage_of
from tests.conftest import TurnableClock
from tests.server.conftest import World
from tests.server.statements import statements

pytestmark = pytest.mark.database


class Watched:
    """An organization whose keys are used at any time before now."""

    def __init__(self, world: World, clock: TurnableClock) -> None:
        self.world, self.clock = world, clock
        self.org: Organization = world.org()
        self.recorder = Recorder(db.engine, None, 0)

    def ago(self, days: float) -> datetime:
        return self.clock() - timedelta(days=days)

    def saw(self, key: ApiKey, days: float, times: int = 1, address: str = "192.0.2.7") -> None:
        for _ in range(times):
            self.recorder.saw(key.id, self.ago(days), address)

    def denied(self, key: ApiKey, times: int = 1, reason: str = "missing_scope") -> None:
        for _ in range(times):
            self.recorder.denied(key.id, self.clock(), "192.0.2.7", reason)

    def delete(self, key: ApiKey) -> None:
        with writing(db.session):
            change_state(db.session, self.clock, SYSTEM, key.id, DELETE)
        self.denied(key, reason="deleted_credential")

    def rotate(self, key: ApiKey) -> None:
        with writing(db.session):
            successor, _ = begin(db.session, self.clock, SYSTEM, key.id, Terms())
            activate(db.session, self.clock, SYSTEM, successor.id)
        self.clock.turn(seconds=9)
        self.saw(key, 0)

    def told(self) -> dict[str, list[str]]:
        self.recorder.flush()
        with reading(db.session):
            found = unusual_keys(db.session, self.clock(), self.org.id, Environment.LIVE)
            return {one.key.id: [*one.sentences] for one in found}


@pytest.fixture
def watched(world: World, clock: TurnableClock) -> Watched:
    return Watched(world, clock)


def from_elsewhere(watched: Watched, key: ApiKey) -> None:
    watched.saw(key, 30)
    watched.saw(key, 2, 1, "198.51.100.9")


def far_more(watched: Watched, key: ApiKey) -> None:
    watched.saw(key, 10)
    watched.saw(key, 0.1, 100)


def after_long(watched: Watched, key: ApiKey) -> None:
    watched.saw(key, 200)
    watched.saw(key, 3)


KINDS: dict[str, tuple[Callable[[Watched, ApiKey], None], str]] = {
    "network": (from_elsewhere, "from the network 198.51.100.0/24"),
    "rate": (far_more, "It made 100 requests"),
    "quiet": (after_long, "quiet days"),
    "denials": (lambda watched, key: watched.denied(key, 100), "100 requests were refused"),
    "deleted": (Watched.delete, "It is revoked, and is still tried"),
    "retiring": (Watched.rotate, "It is retiring, and was used at"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_found_and_told_as_for_the_key_alone(watched: Watched, kind: str) -> None:
    act, words = KINDS[kind]
    key, steady = watched.world.key(watched.org)[0], watched.world.key(watched.org)[0]
    for days in range(20, -1, -2):
        watched.saw(steady, days, 3)
    act(watched, key)
    told = watched.told()
    assert [*told] == [key.id]
    assert words in " ".join(told[key.id])
    with reading(db.session):
        alone = usage_of(db.session, watched.clock(), get_key(db.session, key.id)).unusual
    assert told[key.id] == alone


def test_keys_of_others_are_not_told(watched: Watched) -> None:
    other = watched.world.key(watched.world.org())[0]
    test = watched.world.key(watched.org, environment=Environment.TEST)[0]
    for key in (other, test):
        watched.denied(key, 100)
    assert watched.told() == {}


def test_no_more_are_told_than_somebody_reads_and_each_costs_no_statement(watched: Watched) -> None:
    def asked() -> int:
        with statements(db.engine) as asked:
            watched.told()
        return len(asked)

    few = asked()
    for number in range(MOST + 2):
        key = watched.world.key(watched.org)[0]
        watched.saw(key, 200)
        watched.saw(key, 3 + number / 100)
    assert len(watched.told()) == MOST
    assert asked() <= few
