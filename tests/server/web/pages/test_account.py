"""What a user sees and changes of themselves."""

import pytest
from flask import Flask

from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.tokens.service import issue_token
from mushu.server.users.models import User
from mushu.server.users.service import get_user
from tests.conftest import TurnableClock
from tests.server.conftest import World, bearer
from tests.server.web.pages.browser import Browser

NEW = "another good passphrase"


def test_terminals_are_listed_and_signed_out(browser: Browser, user: User, world: World) -> None:
    with writing(db.session):
        token, secret = issue_token(db.session, world.clock, get_user(db.session, user.id), "ada@<laptop>")
    page = browser.get("/account").get_data(as_text=True)
    assert "ada@&lt;laptop&gt;" in page
    assert browser.submit(f"/account/tokens/{token.id}/revoke").status_code == 303
    assert browser.client.get("/users/me", headers=bearer(secret.reveal())).status_code == 401
    assert "No terminal is signed in" in browser.get("/account").get_data(as_text=True)


def test_nobody_signs_out_the_terminal_of_another(browser: Browser, world: World) -> None:
    other = world.user()
    with writing(db.session):
        token, secret = issue_token(db.session, world.clock, other)
    browser.get("/account")
    assert browser.submit(f"/account/tokens/{token.id}/revoke").status_code == 404
    assert browser.client.get("/users/me", headers=bearer(secret.reveal())).status_code == 200


def test_a_changed_password_ends_everything_but_this_session(
    app: Flask, browser: Browser, user: User, world: World, clock: TurnableClock
) -> None:
    other, token = Browser(app), world.token(user)
    other.sign_in(user.email, world.password)
    clock.turn(seconds=1)
    browser.get("/account/password")
    changed = browser.submit("/account/password", current=world.password, password=NEW, repeated=NEW)
    assert changed.status_code == 303
    assert browser.get("/account").status_code == 200
    assert other.get("/account").status_code == 303
    assert browser.client.get("/users/me", headers=bearer(token)).status_code == 401
    assert Browser(app).sign_in(user.email, NEW).status_code == 303


@pytest.mark.parametrize(
    ("current", "password", "repeated", "says"),
    [
        ("wrong password!", NEW, NEW, "wrong"),
        ("{}", NEW, NEW + "x", "twice"),
        ("{}", "short", "short", "12"),
        ("", NEW, NEW, "twice"),
    ],
)
def test_what_does_not_fit_changes_nothing(
    app: Flask, browser: Browser, user: User, world: World, current: str, password: str, repeated: str, says: str
) -> None:
    browser.get("/account/password")
    fields = {"current": current.format(world.password), "password": password, "repeated": repeated}
    refused = browser.submit("/account/password", **fields)
    assert refused.status_code == 422
    assert says in refused.get_data(as_text=True)
    assert NEW not in refused.get_data(as_text=True)
    assert Browser(app).sign_in(user.email, world.password).status_code == 303
