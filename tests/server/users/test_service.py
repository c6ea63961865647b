import pytest

from mushu.secret import Secret
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.errors import EmailTaken, Invalid, LoginRefused, UserNotFound
from mushu.server.paging import Window
from mushu.server.users.service import (
    check_password,
    checked_email,
    create_user,
    disable_user,
    emails_of,
    enable_user,
    find_user_by_email,
    get_user,
    get_user_by_email,
    list_users,
    set_password,
)
from tests.conftest import TurnableClock
from tests.server.conftest import World

pytestmark = pytest.mark.database


def test_one_address_is_one_user_however_it_is_written(world: World) -> None:
    user = world.user("Ada@Example.com")
    with reading(db.session):
        for spelling in ("ada@example.com", " ADA@EXAMPLE.COM "):
            found = find_user_by_email(db.session, spelling)
            assert found is not None
            assert found.id == user.id
    with pytest.raises(EmailTaken), writing(db.session):
        create_user(db.session, world.clock, SYSTEM, "ADA@example.com")


@pytest.mark.parametrize("email", ["", "ada", "@x", "ada@", "a b@x", "a@b\n", "a@b@c", "x" * 250 + "@x.org", "a\x00@b"])
def test_what_is_no_address_is_refused(email: str) -> None:
    if email == "a@b\n":  # white space around it is not part of it
        assert checked_email(email) == "a@b"
        return
    with pytest.raises(Invalid):
        checked_email(email)


@pytest.mark.fault
@pytest.mark.parametrize("email", ["\udcff@example.com", "ada@\ud800.example"])
def test_what_stands_for_bytes_that_are_no_text_is_no_address(email: str) -> None:
    with pytest.raises(Invalid):
        checked_email(email)


def test_a_name_must_be_printable(world: World) -> None:
    for name in ("", " ", "a\nb", "x" * 201):
        with pytest.raises(Invalid), writing(db.session):
            create_user(db.session, world.clock, SYSTEM, "a@b", name)


def test_who_is_unknown_is_not_found(world: World) -> None:
    world.user("ada@example.com")
    with reading(db.session):
        with pytest.raises(UserNotFound):
            get_user(db.session, "usr_nosuch")
        with pytest.raises(UserNotFound, match="flask users create"):
            get_user_by_email(db.session, "bob@example.com")
        assert [user.email for user in list_users(db.session, Window()).rows] == ["ada@example.com"]
        assert emails_of(db.session, ["usr_nosuch"]) == {}


def test_the_right_password_opens_and_every_other_case_says_the_same(world: World) -> None:
    ada = world.user(with_password=True)
    bare = world.user()
    gone = world.user(with_password=True)
    with writing(db.session):
        disable_user(db.session, world.clock, SYSTEM, gone)
    passwords = world.core.passwords
    assert check_password(passwords, ada, Secret(world.password)) is ada
    words = set()
    for user, password in ((ada, "wrong password!"), (None, world.password), (bare, ""), (gone, world.password)):
        with pytest.raises(LoginRefused) as caught:
            check_password(passwords, user, Secret(password))
        words.add(caught.value.detail)
    assert len(words) == 1


def test_a_new_password_ends_every_token_from_before(world: World, clock: TurnableClock) -> None:
    user = world.user()
    clock.turn(seconds=1)
    with writing(db.session):
        set_password(db.session, clock, SYSTEM, user, "hash")
    assert user.tokens_valid_from == clock()


def test_disabling_twice_is_disabling_once_and_enabling_keeps_tokens_dead(world: World, clock: TurnableClock) -> None:
    user = world.user()
    with writing(db.session):
        disable_user(db.session, clock, SYSTEM, user)
    first = user.disabled_at
    clock.turn(seconds=5)
    with writing(db.session):
        disable_user(db.session, clock, SYSTEM, user)
    assert user.disabled_at == first
    with writing(db.session):
        enable_user(db.session, clock, SYSTEM, user)
        enable_user(db.session, clock, SYSTEM, user)
    assert user.disabled_at is None
    assert user.tokens_valid_from == first
