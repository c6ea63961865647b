"""One-time links."""

import pytest

from mushu.secret import Secret
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.errors import LinkNotFound
from mushu.server.users.links import LIFETIME, find_open_link, get_link_user, issue_link, redeem_link
from mushu.server.users.models import User
from mushu.server.users.service import disable_user, enable_user, set_password
from tests.conftest import TurnableClock
from tests.server.conftest import World

pytestmark = pytest.mark.database


def issue(world: World, user: User) -> Secret:
    with writing(db.session):
        return issue_link(db.session, world.clock, SYSTEM, user)


def redeem(world: World, secret: Secret) -> User:
    with writing(db.session):
        return redeem_link(db.session, world.clock, secret, "hash")


def refused(world: World, secret: Secret) -> bool:
    with reading(db.session):
        try:
            get_link_user(db.session, world.clock, secret)
        except LinkNotFound:
            return True
        return False


def test_a_link_sets_the_password_once(world: World) -> None:
    user = world.user()
    secret = issue(world, user)
    assert not refused(world, secret)
    assert redeem(world, secret).password_hash == "hash"
    with pytest.raises(LinkNotFound):
        redeem(world, secret)


def test_a_newer_link_makes_the_older_useless(world: World) -> None:
    user = world.user()
    older, newer = issue(world, user), issue(world, user)
    assert refused(world, older)
    assert not refused(world, newer)


def test_a_link_ends_after_its_time(world: World, clock: TurnableClock) -> None:
    user = world.user()
    secret = issue(world, user)
    with reading(db.session):
        assert find_open_link(db.session, clock, user.id) is not None
    clock.turn(seconds=LIFETIME.total_seconds())
    assert refused(world, secret)
    with reading(db.session):
        assert find_open_link(db.session, clock, user.id) is None


def test_a_link_of_a_disabled_user_and_an_unknown_one_are_refused(world: World) -> None:
    user = world.user()
    secret = issue(world, user)
    with writing(db.session):
        disable_user(db.session, world.clock, SYSTEM, user)
    assert refused(world, secret)
    assert refused(world, Secret("mpl_unknown"))


@pytest.mark.fault
@pytest.mark.parametrize("enabled_again", [False, True])
def test_a_link_ends_with_the_password_that_it_was_to_replace(
    world: World, clock: TurnableClock, enabled_again: bool
) -> None:
    user = world.user()
    secret = issue(world, user)
    clock.turn(seconds=1)
    with writing(db.session):
        if enabled_again:
            disable_user(db.session, world.clock, SYSTEM, user)
            enable_user(db.session, world.clock, SYSTEM, user)
        else:
            set_password(db.session, world.clock, SYSTEM, user, "another hash")
    assert refused(world, secret)
    with pytest.raises(LinkNotFound):
        redeem(world, secret)
    with reading(db.session):
        assert find_open_link(db.session, clock, user.id) is None
    assert not refused(world, issue(world, user)), "a newer one is good"


def test_a_link_that_another_request_used_up_a_moment_ago_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = world.user()
    secret = issue(world, user)
    redeem(world, secret)
    monkeypatch.setattr("mushu.server.users.links.get_link_user", lambda *_: user)  # both had looked before
    with pytest.raises(LinkNotFound):
        redeem(world, secret)
