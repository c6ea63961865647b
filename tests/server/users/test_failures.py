"""Failed sign-ins in the audit trail: they are seen there, and cannot fill it."""

import pytest
from sqlalchemy import func, select

from mushu.secret import Secret
from mushu.server.audit.models import AuditEvent
from mushu.server.client_address import read_address
from mushu.server.core import db
from mushu.server.db import reading
from mushu.server.errors import LoginRefused
from mushu.server.users.failures import UNKNOWN, tell_failures
from mushu.server.users.known_clients import SignInSource
from mushu.server.users.login import Attempt, sign_in
from mushu.server.users.models import LoginFailures
from tests.conftest import TurnableClock
from tests.server.conftest import World


def fail(world: World, email: str, address: str = "192.0.2.1") -> None:
    attempt = Attempt(email, Secret("wrong password!"), SignInSource(read_address(address)))
    with pytest.raises(LoginRefused):
        sign_in(db.session, world.clock, world.core.passwords, attempt, lambda user: user)


def told() -> list[tuple[str, object]]:
    with reading(db.session):
        events = select(AuditEvent).where(AuditEvent.action == "login.failed").order_by(AuditEvent.id)
        return [(event.target_id, event.details["count"]) for event in db.session.scalars(events)]


@pytest.mark.fault
def test_a_failed_sign_in_is_told_with_where_it_came_from(world: World) -> None:
    user = world.user(with_password=True)
    fail(world, user.email, "203.0.113.9")
    with reading(db.session):
        event = db.session.scalars(select(AuditEvent).where(AuditEvent.action == "login.failed")).one()
    assert (event.target_id, event.actor_kind) == (user.id, "system")
    assert event.details == {"count": 1, "address": "203.0.113.9"}


@pytest.mark.fault
def test_what_follows_is_counted_and_told_once_an_hour(world: World, clock: TurnableClock) -> None:
    user = world.user(with_password=True)
    for _ in range(4):
        fail(world, user.email)
    assert told() == [(user.id, 1)]
    clock.turn(hours=1)
    fail(world, user.email)
    assert told() == [(user.id, 1), (user.id, 4)]


@pytest.mark.fault
def test_strangers_add_one_event_an_hour_however_many_accounts_they_invent(world: World, clock: TurnableClock) -> None:
    for number in range(40):
        fail(world, f"nobody-{number}@example.com", f"192.0.2.{number}")
    assert told() == [(UNKNOWN, 1)]
    with reading(db.session):
        assert db.session.scalar(select(func.count()).select_from(LoginFailures)) == 1
        events = db.session.scalars(select(AuditEvent)).all()
    assert "nobody" not in str([event.details for event in events])
    clock.turn(hours=1)
    assert tell_failures(db.session, clock) == 1
    assert tell_failures(db.session, clock) == 0
    assert told() == [(UNKNOWN, 1), (UNKNOWN, 39)]


def test_signing_in_tells_of_no_failure(world: World) -> None:
    user = world.user(with_password=True)
    attempt = Attempt(user.email, Secret(world.password), SignInSource(None))
    sign_in(db.session, world.clock, world.core.passwords, attempt, lambda user: user)
    assert told() == []
