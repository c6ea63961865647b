import pytest

from mushu.secret import Secret
from mushu.server.audit import SYSTEM
from mushu.server.client_address import read_address
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.errors import Invalid, LoginRefused, TooManyAttempts
from mushu.server.users import login
from mushu.server.users.known_clients import SignInSource
from mushu.server.users.login import LoginAttempt, change_password, sign_in
from mushu.server.users.models import User
from mushu.server.users.passwords import Passwords
from mushu.server.users.service import disable_user, find_user
from mushu.server.users.throttle import ACCOUNT
from tests.conftest import TurnableClock
from tests.server.conftest import World

pytestmark = pytest.mark.database


def enter(world: World, email: str, password: str, address: str = "192.0.2.1") -> User:
    attempt = LoginAttempt(email, Secret(password), SignInSource(read_address(address)))
    return sign_in(db.session, world.clock, world.core.passwords, attempt, lambda user: user)


def test_the_right_password_signs_in(world: World) -> None:
    user = world.user("ada@example.com", with_password=True)
    assert enter(world, " ADA@example.com ", world.password).id == user.id


def test_the_right_password_works_after_the_stated_wait(world: World, clock: TurnableClock) -> None:
    email = world.user(with_password=True).email
    for number in range(ACCOUNT.free + 1):
        with pytest.raises(LoginRefused):
            enter(world, email, "wrong password!", f"192.0.2.{number}")
    with pytest.raises(TooManyAttempts) as caught:
        enter(world, email, world.password)
    clock.turn(seconds=caught.value.retry_after)
    assert enter(world, email, world.password).email == email
    assert enter(world, email, world.password).email == email, "and it is forgiven"


def test_a_refused_attempt_reaches_no_password_check_while_it_has_to_wait(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = world.user(with_password=True)
    for number in range(ACCOUNT.free + 1):
        with pytest.raises(LoginRefused):
            enter(world, user.email, "wrong password!", f"192.0.2.{number}")
    monkeypatch.setattr(Passwords, "verify", lambda *_: pytest.fail("a password was checked"))
    with pytest.raises(TooManyAttempts):
        enter(world, user.email, world.password)


def test_a_user_who_is_disabled_while_the_password_is_checked_stays_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = world.user(with_password=True)
    from mushu.server.users.service import check_password as real

    def disable_meanwhile(passwords: Passwords, found: User | None, password: Secret) -> User:
        checked = real(passwords, found, password)
        with writing(db.session):
            disable_user(db.session, world.clock, SYSTEM, user)
        return checked

    monkeypatch.setattr(login, "check_password", disable_meanwhile)
    with pytest.raises(LoginRefused, match="changed"):
        enter(world, user.email, world.password)


def change(world: World, user: User, current: str, new: str) -> User:
    secrets = Secret(current), Secret(new)
    return change_password(db.session, world.clock, world.core.passwords, user, *secrets, then=lambda proven: proven)


def test_a_password_is_changed_by_who_knows_it(world: World) -> None:
    user = world.user(with_password=True)
    change(world, user, world.password, "another good passphrase")
    assert enter(world, user.email, "another good passphrase").id == user.id
    with pytest.raises(LoginRefused):
        enter(world, user.email, world.password)


def test_a_wrong_current_or_a_short_new_password_changes_nothing(world: World) -> None:
    user = world.user(with_password=True)
    with pytest.raises(LoginRefused):
        change(world, user, "wrong password!", "another good passphrase")
    with pytest.raises(Invalid):
        change(world, user, world.password, "short")
    with reading(db.session):
        found = find_user(db.session, user.id, fresh=True)
    assert found is not None
    assert found.password_hash == user.password_hash
