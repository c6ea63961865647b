"""Guessing is slowed down, and nobody learns anything from how."""

import pytest
from sqlalchemy import select

from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.errors import TooManyAttempts
from mushu.server.users.models import LoginThrottle
from mushu.server.users.throttle import ACCOUNT, ADDRESS, LONGEST_WAIT, MEMORY, count_attempt, forgive
from tests.conftest import TurnableClock
from tests.server.conftest import World

EMAIL = "ada@example.com"


def attempt(world: World, email: str = EMAIL, address: str = "192.0.2.1") -> int:
    """Try once; return the seconds to wait, or 0 if the attempt was let through."""
    try:
        with writing(db.session):
            count_attempt(db.session, world.clock, email, address)
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
    tries = [attempt(world, f"{number}@example.com") for number in range(ADDRESS.free + 2)]
    assert tries[: ADDRESS.free + 1] == [0] * (ADDRESS.free + 1)
    assert tries[-1] == 1
    assert attempt(world, "0@example.com", "198.51.100.1") == 0


def test_the_right_password_is_forgiven_and_the_account_starts_afresh(world: World) -> None:
    for number in range(ACCOUNT.free):
        attempt(world, address=f"192.0.2.{number}")
    with writing(db.session):
        forgive(db.session, EMAIL, "192.0.2.1")
    assert attempt(world, address="192.0.2.1") == 0
    assert [attempt(world, address=f"198.51.100.{n}") for n in range(ACCOUNT.free)] == [0] * ACCOUNT.free


def test_forgiving_what_was_never_counted_is_nothing(world: World) -> None:
    with writing(db.session):
        forgive(db.session, "never@example.com", "192.0.2.77")


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
