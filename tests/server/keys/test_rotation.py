"""The rules of rotation, apart from any destination: who may be succeeded, by what, and for how long."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select

from mushu.environment import Environment
from mushu.server.audit import SYSTEM, AuditEvent
from mushu.server.core import db
from mushu.server.db import AnySession, reading, writing
from mushu.server.delivery.activation import activate
from mushu.server.errors import Invalid, KeyNotFound, OrgNotFound, WrongState
from mushu.server.keys import Scope, parse_networks, retirement, rotation
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey, Rotation
from mushu.server.keys.rotation import Terms
from mushu.server.keys.service import change_state, get_key
from mushu.server.keys.states import DELETE, DISABLE, ENABLE, FAIL, AtDeadline, State
from mushu.server.orgs.models import Organization
from mushu.server.orgs.service import delete_org
from tests.conftest import TurnableClock
from tests.server.conftest import World
from tests.server.orgs.racing import overtake
from tests.server.verbs import issue_key

pytestmark = pytest.mark.database

HOUR, DAY, YEAR = timedelta(hours=1), timedelta(days=1), timedelta(days=366)


def begin(clock: TurnableClock, key_id: str, terms: Terms | None = None) -> ApiKey:
    with writing(db.session):
        return rotation.begin(db.session, clock, SYSTEM, key_id, terms or Terms())[0]


def hand_over(clock: TurnableClock, successor_id: str) -> ApiKey:
    with writing(db.session):
        return activate(db.session, clock, SYSTEM, successor_id)


def rotate(clock: TurnableClock, key_id: str, terms: Terms | None = None) -> ApiKey:
    return hand_over(clock, begin(clock, key_id, terms).id)


def change(clock: TurnableClock, key_id: str, transition: object) -> None:
    with writing(db.session):
        change_state(db.session, clock, SYSTEM, key_id, transition)  # type: ignore[arg-type]


def use(clock: TurnableClock, *key_ids: str) -> None:
    with writing(db.session):
        retirement.note_first_uses(db.session, dict.fromkeys(key_ids, clock()))


def now_of(key_id: str) -> ApiKey:
    with reading(db.session):
        found = get_key(db.session, key_id)
        db.session.refresh(found)
        return found


def row(successor_id: str) -> Rotation:
    with reading(db.session):
        return rotation.get_rotation_to(db.session, successor_id)


def counts() -> tuple[int, ...]:
    """Return how many rows there are of everything that a rotation writes."""
    with reading(db.session):
        return tuple(
            db.session.scalar(select(func.count()).select_from(of)) or 0 for of in (ApiKey, Rotation, AuditEvent)
        )


class TestBeginning:
    def test_changes_nothing_for_the_key(self, clock: TurnableClock, old: ApiKey) -> None:
        successor = begin(clock, old.id)
        assert (now_of(old.id).stored_state, now_of(successor.id).stored_state) == ("active", "pending")
        with reading(db.session):
            assert rotation.find_rotation_of(db.session, old.id) is None
        assert (row(successor.id).predecessor_id, row(successor.id).handed_over_at) == (old.id, None)

    def test_several_may_be_on_their_way_and_one_takes_over(self, clock: TurnableClock, old: ApiKey) -> None:
        first, second, old_id = begin(clock, old.id).id, begin(clock, old.id).id, old.id
        hand_over(clock, second)
        with pytest.raises(WrongState):
            hand_over(clock, first)
        assert now_of(first).stored_state == "pending", "both or neither"
        assert row(first).handed_over_at is None
        with reading(db.session):
            found = rotation.find_rotation_of(db.session, old_id)
        assert found is not None
        assert found.successor_id == second

    def test_a_key_that_was_disabled_meanwhile_can_be_enabled_and_succeeded(
        self, clock: TurnableClock, old: ApiKey
    ) -> None:
        old_id, successor_id = old.id, begin(clock, old.id).id
        change(clock, old_id, DISABLE)
        with pytest.raises(WrongState, match="disabled"):
            hand_over(clock, successor_id)
        change(clock, old_id, ENABLE)
        assert hand_over(clock, successor_id).stored_state == "active"

    def test_the_successor_is_like_it_in_all_that_was_asked_for(
        self, clock: TurnableClock, world: World, org: Organization
    ) -> None:
        request = KeyRequest(
            org_id=org.id,
            name="naïve 鍵",
            scopes=(Scope.READ, Scope.ADMIN),
            environment=Environment.TEST,
            expires_at=clock() + 10 * DAY,
            rotate_every=2 * DAY,
        )
        with writing(db.session):
            old, _ = issue_key(db.session, clock, SYSTEM, request)
        clock.turn(days=9)
        new = rotate(clock, old.id)
        for field in ("org_id", "name", "scopes", "environment", "rotate_every"):
            assert getattr(new, field) == getattr(old, field)
        assert (new.expires_at, new.rotate_at) == (clock() + 10 * DAY, clock() + 2 * DAY)
        assert now_of(old.id).rotate_at is None

    @pytest.mark.parametrize(
        "terms",
        [
            Terms(settle=-timedelta(microseconds=1)),
            Terms(settle=YEAR + timedelta(microseconds=1)),
            Terms(settle=timedelta.max),
            Terms(deadline=timedelta(0)),
            Terms(deadline=-DAY),
            Terms(deadline=YEAR + timedelta(microseconds=1)),
        ],
    )
    def test_terms_that_cannot_be_kept_are_refused(self, clock: TurnableClock, old: ApiKey, terms: Terms) -> None:
        before = counts()
        with pytest.raises(Invalid):
            begin(clock, old.id, terms)
        assert counts() == before

    @pytest.mark.parametrize(
        "terms",
        [
            Terms(settle=timedelta(0)),
            Terms(settle=YEAR),
            Terms(deadline=YEAR),
            Terms(settle=90 * HOUR, deadline=3 * DAY, at_deadline=AtDeadline.REVOKE, at_once=True),
        ],
    )
    def test_terms_are_read_as_they_were_given(self, clock: TurnableClock, old: ApiKey, terms: Terms) -> None:
        assert Terms.of(row(begin(clock, old.id, terms).id)) == terms


@pytest.mark.fault
def test_limits_and_networks_that_are_set_while_the_successor_is_on_its_way_hold_for_it_too(
    clock: TurnableClock, world: World, org: Organization, old: ApiKey
) -> None:
    """It kept those that the key had when it was minted: who bound a key to a network had an unbound one take over."""
    old_id, other, networks = old.id, world.key(org)[0].id, parse_networks(["10.0.0.0/8"])
    over, under_way = begin(clock, old_id).id, begin(clock, old_id).id
    change(clock, over, FAIL)

    def bind(session: AnySession, key_id: str = old_id) -> None:
        rotation.restrict(session, clock, SYSTEM, key_id, limits=None, networks=networks)

    with writing(db.session):
        bind(db.session)
    hand_over(clock, under_way)
    assert [now_of(key_id).networks for key_id in (old_id, under_way, over)] == ["10.0.0.0/8", "10.0.0.0/8", None]
    assert (
        overtake(
            lambda session: rotation.begin(session, clock, SYSTEM, other, Terms()), lambda session: bind(session, other)
        )
        is None
    )
    with reading(db.session):
        (successor,) = db.session.scalars(select(Rotation.successor_id).where(Rotation.predecessor_id == other))
    assert now_of(successor).networks == "10.0.0.0/8", "they were minted and bound at the same moment"


class TestWhoIsNotSucceeded:
    @pytest.mark.parametrize(
        ("state", "says"),
        [
            (State.PENDING, "Wait until it is delivered"),
            (State.DISABLED, "Enable it first"),
            (State.FAILED, "Create a new key"),
            (State.REVOKED, "Create a new key"),
        ],
    )
    def test_a_key_in_another_state(self, clock: TurnableClock, old: ApiKey, state: State, says: str) -> None:
        with writing(db.session):
            get_key(db.session, old.id).stored_state = state
        before = counts()
        with pytest.raises(WrongState, match=f"{old.id} is {state}.*{says}"):
            begin(clock, old.id)
        assert counts() == before

    def test_an_expired_key(self, clock: TurnableClock, world: World, org: Organization) -> None:
        key, _ = world.key(org, lives_seconds=60)
        clock.turn(seconds=60)
        with pytest.raises(WrongState, match="expired"):
            begin(clock, key.id)

    def test_one_that_is_being_succeeded_says_by_which_and_if_that_is_over_what_to_do(
        self, clock: TurnableClock, old: ApiKey
    ) -> None:
        old_id, new_id = old.id, rotate(clock, old.id).id
        with pytest.raises(WrongState, match=f"{new_id} takes over"):
            begin(clock, old_id)
        change(clock, new_id, DELETE)
        with pytest.raises(WrongState, match=f"made way for {new_id}, which is over. Create a new key"):
            begin(clock, old_id)

    def test_one_whose_time_is_over_though_nobody_wrote_it_down(self, clock: TurnableClock, old: ApiKey) -> None:
        new = rotate(clock, old.id, Terms(settle=HOUR))
        use(clock, new.id)
        clock.turn(hours=1)
        assert now_of(old.id).stored_state == "retiring"
        with pytest.raises(WrongState, match=f"{old.id} is revoked"):
            begin(clock, old.id)

    def test_a_key_of_a_deleted_organization_and_one_that_is_not_there(
        self, clock: TurnableClock, org: Organization, old: ApiKey
    ) -> None:
        with writing(db.session):
            delete_org(db.session, clock, SYSTEM, db.session.merge(org))
        with pytest.raises((OrgNotFound, WrongState)):
            begin(clock, old.id)
        with pytest.raises(KeyNotFound):
            begin(clock, "key_nosuch")


class TestWhatIsLeftToDo:
    def test_a_rotation_whose_new_key_failed_is_broken_off_until_it_is_settled(
        self, clock: TurnableClock, old: ApiKey
    ) -> None:
        failed, under_way = begin(clock, old.id), begin(clock, old.id)
        change(clock, failed.id, FAIL)
        assert self.broken_off() == [failed.id]
        with writing(db.session):
            rotation.settle(db.session, clock(), failed.id)
        assert self.broken_off() == []
        hand_over(clock, under_way.id)
        change(clock, under_way.id, DELETE)
        assert self.broken_off() == [], "it took over first"

    def test_what_has_ended_is_settled_once_and_the_rest_is_not(
        self, clock: TurnableClock, world: World, org: Organization, old: ApiKey
    ) -> None:
        waiting = rotate(clock, world.key(org)[0].id)
        ended = rotate(clock, old.id)
        change(clock, old.id, DELETE)
        for _ in range(2):
            self.settle(clock())
            assert row(ended.id).settled_at is not None
            clock.turn(hours=1)
        assert row(ended.id).settled_at == clock() - 2 * HOUR
        assert row(waiting.id).settled_at is None

    def test_ancestors_are_told_the_latest_first(self, clock: TurnableClock, old: ApiKey) -> None:
        line = [old.id]
        for _ in range(3):
            line.append(rotate(clock, line[-1]).id)
        with reading(db.session):
            assert rotation.ancestors(db.session, line[-1]) == line[-2::-1]
            assert rotation.ancestors(db.session, old.id) == []

    @pytest.mark.parametrize("end", ["used", "deleted"])
    def test_a_stalled_one_is_told_from_its_deadline_on_until_the_new_key_is_used_or_the_old_one_ends(
        self, clock: TurnableClock, org: Organization, old: ApiKey, end: str
    ) -> None:
        new = rotate(clock, old.id, Terms(deadline=DAY))
        clock.turn(days=1, microseconds=-1)
        assert self.stalled(clock()) == []
        clock.turn(microseconds=1)
        assert self.stalled(clock()) == self.stalled(clock(), org.id) == [(old.id, new.id)]
        assert self.stalled(clock(), "org_nosuch") == []
        assert now_of(old.id).state(clock()) == "retiring"
        if end == "used":
            use(clock, new.id)
        else:
            change(clock, old.id, DELETE)
        assert self.stalled(clock()) == []

    def broken_off(self) -> list[str]:
        with reading(db.session):
            return [successor_id for _, successor_id in rotation.list_broken_off(db.session)]

    def stalled(self, now: datetime, org_id: str | None = None) -> list[tuple[str, str]]:
        with reading(db.session):
            found = rotation.list_stalled(db.session, now, org_id)
            return [(one.predecessor_id, one.successor_id) for one in found]

    def settle(self, now: datetime) -> None:
        with writing(db.session):
            retirement.settle_ended(db.session, now)
