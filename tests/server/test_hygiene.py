"""The keys that somebody should look at: each kind is found among others, however small the pages are."""

from datetime import timedelta
from functools import partial

import pytest

from mushu.destination import Location
from mushu.server.audit import SYSTEM, Actor, ActorKind
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.delivery.activation import activate
from mushu.server.delivery.ledger import open_delivery
from mushu.server.delivery.models import Condition, DeliveryState
from mushu.server.hygiene import Hygiene, list_keys_to_look_at
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import Terms, begin
from mushu.server.keys.service import Selection
from mushu.server.orgs.members import get_member, remove_member
from mushu.server.orgs.models import Role
from mushu.server.paging import Window
from mushu.server.users.models import User
from mushu.server.users.service import disable_user
from tests.conftest import TurnableClock
from tests.server.conftest import World
from tests.server.verbs import issue_key, use_key

pytestmark = pytest.mark.database

DAYS = timedelta(days=1)


class Keys:
    """The keys of one organization, by what a test calls them."""

    def __init__(self, world: World, clock: TurnableClock) -> None:
        self.world = world
        self.clock = clock
        self.org = world.org()
        self.names: dict[str, str] = {}

    def add(self, name: str, actor: Actor = SYSTEM, expires_in: timedelta | None = None) -> ApiKey:
        expires_at = self.clock() + expires_in if expires_in is not None else None
        request = KeyRequest(org_id=self.org.id, name=name, expires_at=expires_at)
        with writing(db.session):
            key, _ = issue_key(db.session, self.clock, actor, request)
        self.names[key.id] = name
        return key

    def rotate(self, key: ApiKey, name: str, actor: Actor = SYSTEM) -> ApiKey:
        with writing(db.session):
            successor, _ = begin(db.session, self.clock, actor, key.id, Terms(deadline=DAYS))
            activate(db.session, self.clock, actor, successor.id)
        self.names[successor.id] = name
        return successor

    def deliver(self, key: ApiKey, state: DeliveryState, condition: Condition | None) -> None:
        now = self.clock()
        with writing(db.session):
            delivery = open_delivery(key.id, f"env:/{key.id}", Location(""), "", now, now, SYSTEM)
            delivery.state, delivery.condition = state, condition
            db.session.add(delivery)

    def found(self, hygiene: Hygiene, limit: int = 100) -> list[str]:
        """Return the names of those that are found, newest first, in pages of this size."""
        cursor, names = None, []
        find = partial(list_keys_to_look_at, db.session, self.clock(), self.org.id, Selection(), hygiene)
        while True:
            with reading(db.session):
                page = find(Window(limit, cursor))
            assert len(page.rows) <= limit
            names += [self.names[key.id] for key in page.rows]
            cursor = page.next_cursor
            if cursor is None:
                return names


@pytest.fixture
def keys(world: World, clock: TurnableClock) -> Keys:
    return Keys(world, clock)


def test_keys_that_are_unused_or_idle(keys: Keys) -> None:
    for name in ("unused", "stale", "used"):
        key = keys.add(name)
        keys.clock.turn(seconds=1)
        if name != "unused":
            use_key(key.id, keys.clock())
    used = key
    keys.clock.turn(days=60)
    use_key(used.id, keys.clock())
    keys.add("new")
    for limit in (100, 1):
        assert keys.found(Hygiene(unused=True), limit) == ["new", "unused"]
        assert keys.found(Hygiene(idle=60 * DAYS), limit) == ["stale", "unused"]
        assert keys.found(Hygiene(idle=60 * DAYS, unused=True), limit) == ["unused"], "all that is given applies"
        assert keys.found(Hygiene(idle=61 * DAYS), limit) == []


def test_many_keys_that_are_not_meant_end_no_list(keys: Keys) -> None:
    """A page is looked for in so many; then it is empty, and says where to go on."""
    keys.add("unused")
    for number in range(25):
        keys.clock.turn(seconds=1)
        use_key(keys.add(f"{number}").id, keys.clock())
    with reading(db.session):
        find = partial(list_keys_to_look_at, db.session, keys.clock(), keys.org.id, Selection(), Hygiene(unused=True))
        page = find(Window(1))
    assert page.rows == []
    assert page.next_cursor is not None
    assert keys.found(Hygiene(unused=True), 1) == ["unused"]


def test_keys_that_end_soon_or_never(keys: Keys) -> None:
    for name, days in (("never", None), ("soon", 29), ("later", 31), ("over", 1)):
        keys.add(name, expires_in=days * DAYS if days is not None else None)
    keys.clock.turn(days=1)
    assert keys.found(Hygiene(expires_within=28 * DAYS)) == ["soon"]
    assert keys.found(Hygiene(no_expiry=True)) == ["never"]


def test_keys_that_have_drifted(keys: Keys) -> None:
    for number, (state, condition) in enumerate(
        (
            (DeliveryState.VERIFIED, Condition.DRIFTED),
            (DeliveryState.VERIFIED, Condition.MISSING),
            (DeliveryState.VERIFIED, Condition.OK),
            (DeliveryState.VERIFIED, Condition.UNREACHABLE),
            (DeliveryState.VERIFIED, None),
            (DeliveryState.REPLACED, Condition.DRIFTED),
        )
    ):
        keys.clock.turn(seconds=1)
        keys.deliver(keys.add(str(number)), state, condition)
    assert keys.found(Hygiene(drifted=True)) == ["1", "0"]


def test_keys_whose_rotation_has_stalled(keys: Keys) -> None:
    keys.rotate(keys.add("stalled"), "unused")
    used = keys.rotate(keys.add("retiring"), "used")
    keys.clock.turn(hours=1)
    assert keys.found(Hygiene(stalled=True)) == []
    use_key(used.id, keys.clock())
    keys.clock.turn(days=1)
    keys.rotate(keys.add("in time"), "young")
    assert keys.found(Hygiene(stalled=True)) == ["stalled"]


def test_keys_whose_owner_has_left(keys: Keys) -> None:
    leaver, banned, member = (keys.world.member(keys.org, Role.ADMIN) for _ in range(3))

    def by(user: User) -> Actor:
        return Actor(ActorKind.USER, user.id)

    keys.add("operator's")
    taken = keys.add("taken over", by(leaver))
    renewed = keys.add("rotated by a timer", by(leaver))
    keys.add("banned", by(banned))
    keys.add("member's", by(member))
    with writing(db.session):
        remove_member(db.session, keys.clock, SYSTEM, get_member(db.session, keys.org.id, leaver.id))
        disable_user(db.session, keys.clock, SYSTEM, db.session.get_one(User, banned.id))
    keys.rotate(taken, "new, by a member", by(member))
    keys.rotate(renewed, "new, by a timer")
    assert sorted(keys.found(Hygiene(owner_left=True))) == [
        "banned",
        "new, by a timer",
        "rotated by a timer",
        "taken over",
    ]
