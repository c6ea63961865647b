"""Signing in and out in a browser, and what ends a session."""

import pytest
from flask import Flask

from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.tokens.models import LIFETIME
from mushu.server.users.models import User
from mushu.server.users.service import disable_user, get_user, set_password
from mushu.server.web.sessions import local_path
from tests.conftest import TurnableClock
from tests.server.conftest import World
from tests.server.web.pages.browser import Browser

pytestmark = pytest.mark.unmeasured


@pytest.fixture
def browser(app: Flask) -> Browser:
    return Browser(app)


def is_in(browser: Browser) -> bool:
    return browser.get("/account").status_code == 200


def test_it_works(browser: Browser, user: User, world: World) -> None:
    assert browser.get("/account").headers["Location"] == "/login?next=/account"
    response = browser.sign_in(user.email, world.password, "/login?next=/activate")
    assert (response.status_code, response.headers["Location"]) == (303, "/activate")
    page = browser.get("/account")
    assert user.email in page.get_data(as_text=True)
    assert browser.get("/login").status_code == 303, "who is in need not sign in"
    assert browser.get("/account").status_code == 200
    assert browser.submit("/logout").headers["Location"] == "/login"
    assert not is_in(browser)


@pytest.mark.parametrize(("email", "password"), [("{}", "wrong password!"), ("nobody@example.com", "{}"), ("", "")])
def test_a_wrong_password_and_an_unknown_account_look_alike(
    browser: Browser, user: User, world: World, email: str, password: str
) -> None:
    response = browser.sign_in(email.format(user.email), password.format(world.password))
    assert response.status_code in (401, 422)
    text = response.get_data(as_text=True)
    if response.status_code == 401:
        assert "The e-mail address or the password is wrong." in text
    assert world.password not in text
    assert not is_in(browser)


def test_a_form_without_its_token_changes_nothing(browser: Browser, user: User, world: World) -> None:
    response = browser.client.post("/login", data={"email": user.email, "password": world.password})
    assert response.status_code == 422
    assert not is_in(browser)
    browser.sign_in(user.email, world.password)
    browser.client.post("/logout")
    assert is_in(browser)
    for path in ("/account/tokens/tok_x/revoke", "/auth/apple/authorize?redirect_uri=http://localhost:1/"):
        assert browser.client.post(path, data={"decision": "approve"}).status_code == 400


def test_a_token_of_another_browser_is_refused(app: Flask, browser: Browser, user: User, world: World) -> None:
    other = Browser(app)
    other.get("/login")
    browser.page = other.page
    assert browser.submit("/login", email=user.email, password=world.password).status_code == 422


def test_a_session_ends_after_its_time(browser: Browser, user: User, world: World, clock: TurnableClock) -> None:
    browser.sign_in(user.email, world.password)
    clock.turn(seconds=LIFETIME.total_seconds() - 1)
    assert is_in(browser)
    clock.turn(seconds=1)
    assert not is_in(browser)


@pytest.mark.parametrize("end", ["password", "disabled"])
def test_a_session_ends_with_the_password_and_with_the_user(
    browser: Browser, user: User, world: World, clock: TurnableClock, end: str
) -> None:
    browser.sign_in(user.email, world.password)
    clock.turn(seconds=1)
    with writing(db.session):
        found = get_user(db.session, user.id)
        if end == "password":
            set_password(db.session, clock, SYSTEM, found, "another hash")
        else:
            disable_user(db.session, clock, SYSTEM, found)
    assert not is_in(browser)


def test_guessing_is_slowed_down_and_the_page_says_for_how_long(browser: Browser, user: User, world: World) -> None:
    for _ in range(6):
        assert browser.sign_in(user.email, "wrong password!").status_code == 401
    response = browser.sign_in(user.email, world.password)
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "5"
    assert "5 seconds" in response.get_data(as_text=True)


def test_a_cookie_is_no_credential_of_the_api(browser: Browser, user: User, world: World) -> None:
    browser.sign_in(user.email, world.password)
    assert browser.client.get("/users/me").status_code == 401
    assert browser.client.post("/orgs", json={"name": "x"}).status_code == 401


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil", "javascript:alert(1)", "/a\n/b", "",
     None],
)  # fmt: skip
def test_signing_in_never_leads_to_another_place(app: Flask, wanted: str | None) -> None:
    with app.test_request_context():
        assert local_path(wanted) == "/"
        assert local_path("/activate?user_code=X") == "/activate?user_code=X"


def test_a_forged_cookie_is_nobody(browser: Browser) -> None:
    browser.client.set_cookie("mushu", "eyJfdXNlcl9pZCI6InVzcl94In0.aaaa.bbbb")
    assert not is_in(browser)


def test_over_https_the_cookie_cannot_be_set_or_sent_without(world: World, app: Flask) -> None:
    from dataclasses import replace

    from mushu.server.web import sessions

    other = Flask("other")
    sessions.install(other, replace(world.core.settings, public_url="https://keys.example.com"))
    assert other.config["SESSION_COOKIE_NAME"] == "__Host-mushu"
    assert other.config["SESSION_COOKIE_SECURE"] is True
