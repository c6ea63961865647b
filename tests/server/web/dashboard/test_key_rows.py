"""The state of a key as a sentence."""

from datetime import timedelta

import pytest
from markupsafe import Markup

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.core import context_for, db
from mushu.server.db import reading, writing
from mushu.server.delivery.activation import activate
from mushu.server.delivery.models import Condition, DeliveryState
from mushu.server.environments import within
from mushu.server.keys.models import ApiKey
from mushu.server.keys.retirement import note_first_uses
from mushu.server.keys.rotation import Terms, begin
from mushu.server.keys.service import change_state, get_key
from mushu.server.keys.states import DELETE, DISABLE, AtDeadline, State, Transition
from mushu.server.web.dashboard.key_rows import rows_of
from tests.conftest import TurnableClock
from tests.server.verbs import show_successor, use_key
from tests.server.web.dashboard.conftest import Office


def status(office: Office, key: ApiKey) -> tuple[str, str]:
    with within(db.session, Environment.LIVE), reading(db.session):
        found = rows_of(db.session, office.world.clock(), office.org.id, [get_key(db.session, key.id)])[0].status
    return found.tone, Markup(found.words).striptags()


def changed(office: Office, key: ApiKey, change: Transition) -> None:
    with writing(db.session):
        change_state(db.session, office.world.clock, SYSTEM, key.id, change)


def test_most_keys_are_active_and_quiet(office: Office, clock: TurnableClock) -> None:
    key = office.key("k", lives_days=400)
    assert status(office, key) == ("ok", "Active")
    clock.turn(days=8)
    assert status(office, key) == ("off", "Never used in 8 days; delete it if nobody waits for it")
    use_key(key.id, clock())
    assert status(office, key) == ("ok", "Active")
    clock.turn(days=91)
    assert status(office, key) == ("off", "Idle for 91 days")
    clock.turn(days=400 - 99 - 9)
    assert status(office, key) == ("warn", "Active, and expires in 9 days")
    clock.turn(days=11)
    assert status(office, key) == ("stop", "Expired 2 days ago")


@pytest.mark.parametrize(("change", "words"), [(DISABLE, "Disabled"), (DELETE, "Deleted now")])
def test_a_key_that_was_ended_says_how(office: Office, change: Transition, words: str) -> None:
    key = office.key("k")
    changed(office, key, change)
    assert status(office, key) == ("stop", words)


@pytest.mark.parametrize(
    ("condition", "words"),
    [(Condition.DRIFTED, "holds something else, seen now"),
     (Condition.MISSING, "does not hold it any more, seen now")],
)  # fmt: skip
def test_a_destination_that_lost_the_key_is_named(office: Office, condition: Condition, words: str) -> None:
    key = office.key("k")
    office.deliver(key, Condition.OK, uri="env:/fine")
    assert status(office, key)[0] == "ok"
    office.deliver(key, condition)
    assert status(office, key) == ("bad", f"Drifted: an unlisted env: destination {words}")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.PENDING, ("wait", "Pending: its delivery is not proven yet")),
        (State.FAILED, ("bad", "Failed: it could not be delivered")),
    ],
)
def test_a_delivery_that_is_not_proven_says_so_and_leaves_why_to_the_page_of_the_key(
    office: Office, state: State, expected: tuple[str, str]
) -> None:
    key = office.key("k")
    office.deliver(key, state=DeliveryState.PENDING, error="/srv/app/.env is not writable.")
    with writing(db.session):
        db.session.get_one(ApiKey, key.id).stored_state = state
    assert status(office, key) == expected


def test_a_rotation_says_what_it_waits_for(office: Office, clock: TurnableClock) -> None:
    key = office.key("k")
    with writing(db.session):
        successor, _ = begin(db.session, clock, SYSTEM, key.id, Terms(deadline=timedelta(days=7)))
        activate(db.session, clock, SYSTEM, successor.id)
    assert status(office, key) == ("wait", "Rotating: the new key waits for its first use")
    clock.turn(days=9)
    assert status(office, key) == ("bad", "Rotation stalled 2 days ago: nobody has used the new key")
    assert status(office, successor) == ("off", "Never used in 9 days, though it took the place of another")
    with writing(db.session):
        note_first_uses(db.session, {successor.id: clock()})
    assert status(office, key) == ("wait", "Rotating: the new key is in use, and this one ends in an hour")
    clock.turn(hours=2)
    assert status(office, key) == ("stop", "Deleted an hour ago")


@pytest.mark.fault
def test_a_rotation_with_a_deadline_does_not_say_that_the_new_key_is_in_use_before_it_is(
    office: Office, clock: TurnableClock
) -> None:
    key = office.key("k")
    show_successor(context_for(SYSTEM), key.id, Terms(deadline=timedelta(days=2), at_deadline=AtDeadline.REVOKE))
    assert status(office, key) == ("wait", "Rotating: the new key waits for its first use, and this one ends in 2 days")
