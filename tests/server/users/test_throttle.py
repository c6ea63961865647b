"""Guessing is slowed down, and nobody learns anything from how."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from mushu.secret import Secret
from mushu.server.audit import AuditEvent
from mushu.server.client_address import read_address
from mushu.server.core import db
from mushu.server.db import own_session, reading, writing
from mushu.server.errors import LoginRefused, TooManyAttempts
from mushu.server.users.known_clients import TRIES, SignInSource, count_known_attempt, remember_network
from mushu.server.users.login import LoginAttempt, sign_in
from mushu.server.users.models import LoginFailures, LoginThrottle
from mushu.server.users.throttle import (
    ACCOUNT,
    LONGEST_WAIT,
    MEMORY,
    NETWORK,
    NO_ACCOUNT,
    NO_ADDRESS,
    Counted,
    count_attempt,
    forgive,
    tell_failures,
)
from tests.conftest import TurnableClock
from tests.server.conftest import World

pytestmark = [pytest.mark.unmeasured, pytest.mark.database]

EMAIL = "ada@example.com"


def attempt(world: World, email: str = EMAIL, address: str = "192.0.2.1") -> int:
    """Try once; return the seconds to wait, or 0 if the attempt was let through."""
    try:
        with writing(db.session):
            count_attempt(db.session, world.clock, email, SignInSource(read_address(address)))
    except TooManyAttempts as error:
        return error.retry_after
    return 0


def test_the_first_failures_are_free_and_then_each_doubles_the_wait(world: World, clock: TurnableClock) -> None:
    assert [attempt(world, address=f"192.0.2.{n}") for n in range(ACCOUNT.free + 1)] == [0] * (ACCOUNT.free + 1)
    waits = []
    for number in range(10):
        wait = attempt(world, address=f"198.51.100.{number}")
        waits.append(wait)
        clock.turn(seconds=wait)
        assert attempt(world, address=f"203.0.113.{number}") == 0
    assert waits == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]
    assert LONGEST_WAIT.total_seconds() == 900


def test_what_comes_during_a_wait_is_not_counted(world: World, clock: TurnableClock) -> None:
    for number in range(ACCOUNT.free + 1):
        attempt(world, address=f"192.0.2.{number}")
    assert {attempt(world, address=f"198.51.100.{n}") for n in range(100)} == {5}
    clock.turn(seconds=5)
    assert attempt(world, address="203.0.113.9") == 0, "the owner gets a turn after the stated wait"


def test_an_account_that_is_not_there_is_counted_alike(world: World) -> None:
    world.user(EMAIL)
    there = [attempt(world, EMAIL, f"192.0.2.{n}") for n in range(8)]
    nowhere = [attempt(world, "nobody@example.com", f"198.51.100.{n}") for n in range(8)]
    assert there == nowhere


@pytest.mark.parametrize("spelling", ["ADA@example.com", " ada@EXAMPLE.com\t"])
def test_another_spelling_is_the_same_account(world: World, spelling: str) -> None:
    for number in range(ACCOUNT.free + 1):
        attempt(world, address=f"192.0.2.{number}")
    assert attempt(world, spelling, "198.51.100.1") > 0


def test_one_address_that_tries_many_accounts_has_to_wait(world: World, clock: TurnableClock) -> None:
    tries = [attempt(world, f"{number}@example.com") for number in range(NETWORK.free + 2)]
    assert tries[: NETWORK.free + 1] == [0] * (NETWORK.free + 1)
    assert tries[-1] == 1
    assert attempt(world, "0@example.com", "198.51.100.1") == 0


def test_the_right_password_is_forgiven_and_the_account_starts_afresh(world: World) -> None:
    for number in range(ACCOUNT.free - 1):
        attempt(world, address=f"192.0.2.{number}")
    with writing(db.session):
        source = SignInSource(read_address("192.0.2.1"))
        counted = count_attempt(db.session, world.clock, EMAIL, source)
    with writing(db.session):
        forgive(db.session, counted)
    assert attempt(world, address="192.0.2.1") == 0
    assert [attempt(world, address=f"198.51.100.{n}") for n in range(ACCOUNT.free)] == [0] * ACCOUNT.free


def test_forgiving_what_was_never_counted_is_nothing(world: World) -> None:
    with writing(db.session):
        forgive(db.session, Counted(("account:never", "network:192.0.2.77", "shared network:7", "user:usr_a")))


def test_everything_is_forgotten_after_a_day_so_the_table_cannot_grow_for_ever(
    world: World, clock: TurnableClock
) -> None:
    for number in range(20):
        attempt(world, f"{number}@example.com", f"192.0.2.{number}")
    clock.turn(seconds=MEMORY.total_seconds() + 1)
    attempt(world, "last@example.com", "198.51.100.1")
    with reading(db.session):
        assert len(db.session.scalars(select(LoginThrottle)).all()) == 2


def test_the_table_holds_no_address_of_a_person(world: World) -> None:
    attempt(world)
    with reading(db.session):
        subjects = db.session.scalars(select(LoginThrottle.subject)).all()
    assert not [subject for subject in subjects if "ada" in subject]


def test_attempts_at_the_same_moment_are_all_counted_and_none_fails(world: World) -> None:
    """The first ones of an account and a network, which all have to make the rows."""
    engine, source = db.engine, SignInSource(read_address("192.0.2.1"))

    def count(number: int) -> int:
        with own_session(engine) as session:
            try:
                with writing(session):
                    count_attempt(session, world.clock, f"{number % 2}@example.com", source)
            except TooManyAttempts:
                return 0
        return 1

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(count, range(40))) == 2 * (ACCOUNT.free + 1)
    with reading(db.session):
        rows = {row.subject.partition(":")[0]: row.failures for row in db.session.scalars(select(LoginThrottle))}
    assert rows == {"account": ACCOUNT.free + 1, "network": 2 * (ACCOUNT.free + 1)}


def test_the_tries_of_a_known_client_are_counted_at_the_same_moment(world: World) -> None:
    user, engine, source = world.user(EMAIL), db.engine, SignInSource(read_address("192.0.2.1"))
    with writing(db.session):
        remember_network(db.session, world.clock, user, source)

    def count(_: int) -> int:
        with own_session(engine) as session, writing(session):
            return int(count_known_attempt(session, world.clock(), EMAIL, source, MEMORY))

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(count, range(40))) == TRIES


def test_all_without_an_address_share_one_counter_which_is_no_known_client(world: World, clock: TurnableClock) -> None:
    user = world.user(EMAIL)
    with writing(db.session):
        remember_network(db.session, world.clock, user, SignInSource(None))
    assert attempt(world, f"{0}@example.com", "no address") == 0
    for number in range(NO_ADDRESS.free):
        attempt(world, f"{number}@example.com", "no address")
    assert 0 < attempt(world, EMAIL, "no address") <= NO_ADDRESS.longest_wait.total_seconds()
    for _ in range(20):
        clock.turn(seconds=60)
        assert attempt(world, f"{clock().timestamp()}@example.com", "no address") == 0, "a minute at the longest"
    assert attempt(world, EMAIL, "192.0.2.1") == 0


def fail(world: World, email: str, address: str = "192.0.2.1") -> None:
    attempt = LoginAttempt(email, Secret("wrong password!"), SignInSource(read_address(address)))
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
    assert told() == [(NO_ACCOUNT, 1)]
    with reading(db.session):
        assert db.session.scalar(select(func.count()).select_from(LoginFailures)) == 1
        events = db.session.scalars(select(AuditEvent)).all()
    assert "nobody" not in str([event.details for event in events])
    clock.turn(hours=1)
    assert tell_failures(db.session, clock) == 1
    assert tell_failures(db.session, clock) == 0
    assert told() == [(NO_ACCOUNT, 1), (NO_ACCOUNT, 39)]


def test_signing_in_tells_of_no_failure(world: World) -> None:
    user = world.user(with_password=True)
    attempt = LoginAttempt(user.email, Secret(world.password), SignInSource(None))
    sign_in(db.session, world.clock, world.core.passwords, attempt, lambda user: user)
    assert told() == []
