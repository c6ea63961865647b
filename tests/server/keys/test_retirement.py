"""How the old key of a rotation ends: after the first use of the new one, at the deadline, or later."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from mushu.server.audit import SYSTEM, AuditEvent
from mushu.server.clock import rfc3339
from mushu.server.core import context_for, db
from mushu.server.db import AnySession, reading, writing
from mushu.server.errors import Invalid, KeyNotFound, WrongState
from mushu.server.keys import retirement
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import Terms
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DELETE, END_RETIREMENT, AtDeadline
from mushu.server.lifecycle.maintain import keep_house
from mushu.server.orgs.models import Organization
from mushu.server.orgs.settings import change_rules
from tests.conftest import TurnableClock
from tests.server.conftest import World
from tests.server.keys.test_rotation import begin, change, hand_over, now_of, rotate, row, use
from tests.server.orgs.racing import overtake

pytestmark = pytest.mark.database

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TO_THE_DEADLINE = Terms(deadline=DAY, at_deadline=AtDeadline.REVOKE)


class TestFirstUses:
    def test_start_the_clock_of_the_key_before_and_later_ones_do_not_prolong_it(
        self, clock: TurnableClock, old: ApiKey
    ) -> None:
        new = rotate(clock, old.id, Terms(settle=2 * HOUR))
        clock.turn(days=3)
        use(clock, new.id, old.id, "key_nosuch")
        ends = clock() + 2 * HOUR
        assert now_of(old.id).retires_at == ends
        assert row(new.id).first_used_at == clock()
        clock.turn(minutes=59)
        use(clock, new.id)
        assert now_of(old.id).retires_at == ends

    def test_of_a_key_that_is_on_its_way_mean_nothing(self, clock: TurnableClock, old: ApiKey) -> None:
        new = begin(clock, old.id)
        use(clock, new.id)
        assert row(new.id).first_used_at is None
        hand_over(clock, new.id)
        assert now_of(old.id).retires_at is None

    def test_do_not_revive_what_was_deleted(self, clock: TurnableClock, old: ApiKey) -> None:
        new = rotate(clock, old.id)
        change(clock, old.id, DELETE)
        use(clock, new.id)
        assert now_of(old.id).state(clock()) == "revoked"
        assert now_of(old.id).retires_at is None

    def test_reach_back_along_a_chain_of_which_nobody_used_the_middle(self, clock: TurnableClock, old: ApiKey) -> None:
        middle = rotate(clock, old.id, Terms(settle=HOUR))
        clock.turn(hours=1)
        last = rotate(clock, middle.id, Terms(settle=2 * HOUR))
        use(clock, last.id)
        assert now_of(middle.id).retires_at == clock() + 2 * HOUR
        assert now_of(old.id).retires_at == clock() + HOUR

    @pytest.mark.parametrize(("microseconds", "state"), [(-1, "retiring"), (0, "revoked")])
    def test_the_end_is_the_very_moment(self, clock: TurnableClock, old: ApiKey, microseconds: int, state: str) -> None:
        new = rotate(clock, old.id, Terms(settle=HOUR))
        use(clock, new.id)
        clock.turn(hours=1, microseconds=microseconds)
        assert now_of(old.id).state(clock()) == state
        with reading(db.session):
            assert retirement.keys_to_retire(db.session, clock()) == ([old.id] if state == "revoked" else [])


def extend(clock: TurnableClock, key_id: str, until: datetime) -> ApiKey:
    with writing(db.session):
        return retirement.extend(db.session, clock, SYSTEM, key_id, until)


def extensions() -> list[dict[str, object]]:
    with reading(db.session):
        return [*db.session.scalars(select(AuditEvent.details).where(AuditEvent.action == "key.extended"))]


class TestMoreTime:
    def test_puts_off_the_end_and_the_same_again_changes_nothing(self, clock: TurnableClock, old: ApiKey) -> None:
        use(clock, rotate(clock, old.id, Terms(settle=HOUR)).id)
        end, later = clock() + HOUR, clock() + 7 * HOUR
        for _ in range(2):
            assert extend(clock, old.id, later).retires_at == later
        assert extensions() == [{"from": rfc3339(end), "to": rfc3339(later)}]
        clock.turn(hours=7, microseconds=-1)
        assert now_of(old.id).state(clock()) == "retiring"
        clock.turn(microseconds=1)
        assert now_of(old.id).state(clock()) == "revoked"

    def test_before_the_deadline_outlasts_a_first_use_which_otherwise_decides(
        self, clock: TurnableClock, world: World, org: Organization, old: ApiKey
    ) -> None:
        keys = [old.id, *(world.key(org)[0].id for _ in range(2))]
        successors = [rotate(clock, key_id, TO_THE_DEADLINE).id for key_id in keys]
        begun = clock()
        extend(clock, keys[0], begun + 3 * DAY)
        extend(clock, keys[1], begun + DAY + HOUR)
        clock.turn(days=1, minutes=30)
        use(clock, *successors)
        assert [now_of(key_id).retires_at for key_id in keys] == [
            begun + 3 * DAY, begun + DAY + HOUR + HOUR / 2, begun + DAY,
        ], "more time stays, an hour after the use is more, and what ended has ended"  # fmt: skip

    def test_is_given_up_to_the_expiry_the_longest_life_and_a_year(
        self, clock: TurnableClock, world: World, org: Organization, old: ApiKey
    ) -> None:
        key_id, org_id, expiring = old.id, org.id, world.key(org, lives_seconds=5 * 86_400)[0].id
        made = clock()
        for one in (key_id, expiring):
            rotate(clock, one, TO_THE_DEADLINE)
        self.refused(clock, expiring, made + 5 * DAY, "then it expires")
        self.refused(clock, key_id, made + 366 * DAY, "a year from now")
        with writing(db.session):
            change_rules(db.session, clock, SYSTEM, org_id, {"max_key_age": 400 * DAY})
        clock.turn(days=300)
        self.refused(clock, key_id, made + 400 * DAY, "its organization lets keys live 400d")
        with writing(db.session):
            change_rules(db.session, clock, SYSTEM, org_id, {"max_key_age": 90 * DAY})
        self.refused(clock, key_id, made + 400 * DAY, "its organization lets keys live 90d")

    def refused(self, clock: TurnableClock, key_id: str, latest: datetime, reason: str) -> None:
        with pytest.raises(Invalid, match=f"{key_id} can work until {rfc3339(latest)} at the latest: {reason}"):
            extend(clock, key_id, latest + timedelta(microseconds=1))
        assert extend(clock, key_id, latest).retires_at == latest

    def test_is_never_less(self, clock: TurnableClock, old: ApiKey) -> None:
        key_id = old.id
        rotate(clock, key_id, TO_THE_DEADLINE)
        with pytest.raises(Invalid, match=f"works until {rfc3339(clock() + DAY)}. Name a later moment"):
            extend(clock, key_id, clock() + DAY - timedelta(microseconds=1))
        assert (now_of(key_id).retires_at, extensions()) == (clock() + DAY, [])

    def test_is_for_no_key_that_ended_and_for_none_that_has_no_end(
        self, clock: TurnableClock, world: World, org: Organization, old: ApiKey
    ) -> None:
        until, expiring = clock() + 9 * DAY, world.key(org, lives_seconds=60)[0].id
        compromised, ended, deleted, stalled = (world.key(org)[0].id for _ in range(4))
        self.not_now(clock, old.id, until, "is active, and only the old key of a rotation")
        rotate(clock, compromised, Terms(at_once=True))
        for key_id in (ended, deleted, expiring):
            rotate(clock, key_id, TO_THE_DEADLINE)
        change(clock, deleted, DELETE)
        rotate(clock, stalled, Terms(deadline=DAY))
        clock.turn(minutes=1)
        self.not_now(clock, expiring, until, "is expired")
        clock.turn(days=2)
        for key_id in (compromised, ended, deleted):
            self.not_now(clock, key_id, until, "is revoked")
        self.not_now(clock, stalled, until, "needs no more time")
        with pytest.raises(KeyNotFound):
            extend(clock, "key_nosuch", until)
        assert extensions() == []

    def not_now(self, clock: TurnableClock, key_id: str, until: datetime, says: str) -> None:
        with pytest.raises(WrongState, match=f"{key_id} {says}"):
            extend(clock, key_id, until)

    def test_and_what_ends_the_key_at_the_same_moment_meet_in_an_order(
        self, clock: TurnableClock, world: World, org: Organization, old: ApiKey
    ) -> None:
        other, used = world.key(org)[0].id, world.key(org)[0].id
        for key_id in (old.id, other):
            rotate(clock, key_id, TO_THE_DEADLINE)
        successor = rotate(clock, used, TO_THE_DEADLINE).id
        later = clock() + 3 * DAY

        def more(key_id: str) -> "object":
            return lambda session: retirement.extend(session, clock, SYSTEM, key_id, later)

        def end(session: AnySession) -> None:
            change_state(session, clock, SYSTEM, other, END_RETIREMENT)

        assert overtake(end, more(other)) is WrongState  # type: ignore[arg-type]
        assert now_of(other).stored_state == "revoked"
        first_use = {successor: clock()}
        assert overtake(more(used), lambda session: retirement.note_first_uses(session, first_use)) is None  # type: ignore[arg-type]
        assert now_of(used).retires_at == later

    def test_that_is_given_while_a_key_is_about_to_be_ended_is_kept(
        self, clock: TurnableClock, old: ApiKey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another machine, whose clock is a little behind, gives it between the look at what is over and its end."""
        rotate(clock, old.id, TO_THE_DEADLINE)
        later = clock() + 3 * DAY
        extend(clock, old.id, later)
        clock.turn(days=1)
        monkeypatch.setattr(retirement, "keys_to_retire", lambda *_: [old.id])
        assert keep_house(context_for(SYSTEM)) == []
        assert now_of(old.id).state(clock()) == "retiring"
