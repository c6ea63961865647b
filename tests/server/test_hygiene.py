"""The keys that somebody should look at: each kind is found among others, however small the pages are."""

from datetime import timedelta
from functools import partial

import pytest

from mushu.destination import Location
from mushu.environment import Environment
from mushu.server.audit import SYSTEM, Actor, ActorKind
from mushu.server.core import db, reader_in
from mushu.server.db import reading, writing
from mushu.server.delivery.activation import activate
from mushu.server.delivery.ledger import open_delivery
from mushu.server.delivery.models import Condition, DeliveryState
from mushu.server.errors import Invalid
from mushu.server.filtered_keys import FilteredKeys
from mushu.server.hygiene import Hygiene, Sort, list_keys_to_look_at
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import Terms, begin
from mushu.server.keys.selection import Selection
from mushu.server.orgs.members import get_member, remove_member
from mushu.server.orgs.models import Role
from mushu.server.paging import Window
from mushu.server.usage.engine import reading_with_usage
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

    def add(
        self,
        name: str,
        actor: Actor = SYSTEM,
        expires_in: timedelta | None = None,
        environment: Environment = Environment.LIVE,
    ) -> ApiKey:
        expires_at = self.clock() + expires_in if expires_in is not None else None
        request = KeyRequest(org_id=self.org.id, name=name, expires_at=expires_at, environment=environment)
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

    def found(self, hygiene: Hygiene, limit: int = 100, sort: Sort = Sort.CREATED) -> list[str]:
        """Return the names of those that are found, in pages of this size."""
        cursor, names = None, []
        find = partial(list_keys_to_look_at, db.session, self.clock(), self.org.id, Selection(), hygiene)
        while True:
            with reading(db.session):
                page = find(Window(limit, cursor), sort)
            assert len(page.rows) <= limit
            self.compare(hygiene, Window(limit, cursor), sort)
            names += [self.names[key.id] for key in page.rows]
            cursor = page.next_cursor
            if cursor is None:
                return names

    def compare(self, hygiene: Hygiene, window: Window, sort: Sort) -> None:
        """See that a page of the dashboard has the same keys."""
        now, selection = self.clock(), Selection((Environment.LIVE,))
        with reading(db.session):
            page = list_keys_to_look_at(db.session, now, self.org.id, selection, hygiene, window, sort)
        with reading_with_usage(reader_in(Environment.LIVE)) as both:
            found = FilteredKeys(self.org.id, Environment.LIVE, selection, hygiene, now).page(both, window, sort)
        assert [key.id for key in found.rows] == [key.id for key in page.rows]
        assert found.next_cursor == page.next_cursor


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


def test_a_page_is_full_however_many_keys_are_not_meant(keys: Keys) -> None:
    keys.add("unused")
    for number in range(25):
        keys.clock.turn(seconds=1)
        use_key(keys.add(f"{number}").id, keys.clock())
    with reading(db.session):
        find = partial(list_keys_to_look_at, db.session, keys.clock(), keys.org.id, Selection(), Hygiene(unused=True))
        page = find(Window(1))
    assert ([keys.names[key.id] for key in page.rows], page.next_cursor) == (["unused"], None)


def test_keys_that_were_used_of_late_by_their_last_second(keys: Keys) -> None:
    early, late = keys.add("early"), keys.add("late")
    keys.add("never")
    use_key(early.id, keys.clock())
    keys.clock.turn(hours=1)
    use_key(late.id, keys.clock())
    keys.clock.turn(hours=1)
    assert keys.found(Hygiene(used_within=DAYS / 24)) == ["late"]
    assert sorted(keys.found(Hygiene(used_within=DAYS / 12), 1)) == ["early", "late"]
    assert keys.found(Hygiene(used_within=DAYS / 25)) == []


def test_keys_at_a_destination_by_its_uri(keys: Keys) -> None:
    for name, state in (("there", DeliveryState.VERIFIED), ("replaced", DeliveryState.REPLACED)):
        key = keys.add(name)
        keys.deliver(key, state, None)
        assert keys.found(Hygiene(at=[f"env:/{key.id}", "env:/other"])) == (["there"] if name == "there" else [])


def test_keys_of_a_creator_by_id_or_address(keys: Keys) -> None:
    one = keys.world.member(keys.org, Role.ADMIN)
    keys.add("operator's")
    keys.add("one's", Actor(ActorKind.USER, one.id))
    for named in (one.id, one.email, f" {one.email.upper()} "):
        assert keys.found(Hygiene(created_by=named)) == ["one's"]
    assert keys.found(Hygiene(created_by="nobody@example.com")) == []


@pytest.mark.parametrize("limit", [100, 1, 2])
def test_keys_in_other_orders_by_pages(keys: Keys, limit: int) -> None:
    """Names may hold spaces and any letters; what has no place in the order comes last."""
    names = ["b two words", "A", "á", "a\N{NO-BREAK SPACE}z", "Z" * 200, "日本"]
    for number, name in enumerate(names):
        keys.clock.turn(seconds=1)
        environment = Environment.LIVE if number in (1, 4) else Environment.TEST
        key = keys.add(name, SYSTEM, (10 - number) * DAYS if number % 2 else None, environment)
        if number < 4:
            use_key(key.id, keys.clock() + number % 2 * DAYS)
    by_name = ["A", "a\N{NO-BREAK SPACE}z", "b two words", "Z" * 200, "á", "日本"]
    assert keys.found(Hygiene(), limit, Sort.NAME) == by_name
    assert keys.found(Hygiene(), limit, Sort.CREATED) == names[::-1]
    used = keys.found(Hygiene(), limit, Sort.LAST_USED)
    assert (used[:4], {*used[4:]}) == ([names[3], names[1], names[2], names[0]], {*names[4:]})
    ending = keys.found(Hygiene(), limit, Sort.EXPIRES)
    assert (ending[:3], {*ending[3:]}) == ([names[5], names[3], names[1]], {*names[::2]})
    assert keys.found(Hygiene(used_within=2 * DAYS), limit, Sort.NAME) == [*by_name[:3], "á"]


@pytest.mark.parametrize("cursor", ["!", "_w", "YQ", "bm8tZGF0ZSBrZXlfMQ", "MjAyNi0wMS0wMSAA"])
def test_a_cursor_that_is_none_is_refused_in_every_order(keys: Keys, cursor: str) -> None:
    for sort in (Sort.LAST_USED, Sort.EXPIRES):
        with pytest.raises(Invalid, match="next_cursor"), reading(db.session):
            list_keys_to_look_at(db.session, keys.clock(), keys.org.id, Selection(), Hygiene(), Window(1, cursor), sort)


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
