"""A browser's session is in the database, and ends there."""

import base64
import zlib

import pytest
from flask import Flask
from flask_login.utils import encode_cookie
from sqlalchemy import select

from mushu.server.audit import SYSTEM, AuditEvent
from mushu.server.core import db
from mushu.server.db import own_session, reading, writing
from mushu.server.users.models import User
from mushu.server.users.service import disable_user, enable_user, get_user, set_password
from tests.server.conftest import World
from tests.server.web.asking import all_rows, execute
from tests.server.web.pages.browser import Browser

pytestmark = [pytest.mark.unmeasured, pytest.mark.database]


def cookie_of(browser: Browser) -> str:
    found = browser.client.get_cookie("mushu")
    assert found is not None
    return found.value


def with_cookie(app: Flask, value: str) -> Browser:
    thief = Browser(app)
    thief.client.set_cookie("mushu", value)
    return thief


def is_in(browser: Browser) -> bool:
    return browser.get("/account").status_code == 200


def actions() -> list[str]:
    with reading(db.session):
        return list(db.session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)))


@pytest.mark.fault
def test_a_copied_cookie_ends_with_the_sign_out_and_the_trail_tells_both_ends(app: Flask, browser: Browser) -> None:
    thief = with_cookie(app, cookie_of(browser))
    assert is_in(thief)
    assert actions()[-1] == "session.started"
    browser.get("/account")
    assert browser.submit("/logout").status_code == 303
    assert actions()[-1] == "session.ended"
    assert not is_in(thief)


@pytest.mark.fault
def test_the_cookie_tells_nothing_of_the_user_and_the_database_nothing_of_the_cookie(
    browser: Browser, user: User
) -> None:
    payload = cookie_of(browser).lstrip(".").partition(".")[0]
    content = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    if cookie_of(browser).startswith("."):
        content = zlib.decompress(content)
    assert user.id.encode() not in content
    assert user.email.encode() not in content
    assert "mbs_" not in str(all_rows())


@pytest.mark.fault
def test_a_browser_signs_out_another_of_the_same_user(app: Flask, browser: Browser, user: User, world: World) -> None:
    other = Browser(app)
    other.client.environ_base["HTTP_USER_AGENT"] = "Firefox <b>"
    other.sign_in(user.email, world.password)
    page = browser.get("/account").get_data(as_text=True)
    assert "Firefox &lt;b&gt;" in page
    (path,) = {part.partition('"')[0] for part in page.split('action="') if part.startswith("/account/sessions/")}
    assert browser.submit(path).status_code == 303
    assert not is_in(other)
    assert is_in(browser)


def test_nobody_signs_out_the_browser_of_another(app: Flask, browser: Browser, world: World) -> None:
    stranger = world.user(with_password=True)
    other = Browser(app)
    other.sign_in(stranger.email, world.password)
    with db.engine.connect() as connection:
        (session_id,) = connection.exec_driver_sql(
            f"SELECT id FROM browser_sessions WHERE user_id = '{stranger.id}'"
        ).scalars()
    browser.get("/account")
    browser.submit(f"/account/sessions/{session_id}/end")
    assert is_in(other)


def test_a_session_that_was_over_before_stays_over_when_the_user_is_enabled_again(
    browser: Browser, user: User, world: World
) -> None:
    for change in (disable_user, enable_user):
        world.clock.turn(seconds=1)  # type: ignore[attr-defined]
        with writing(db.session):
            change(db.session, world.clock, SYSTEM, get_user(db.session, user.id))
    assert not is_in(browser)


@pytest.mark.fault
def test_a_session_ends_with_its_row_whatever_the_cookie_says(browser: Browser) -> None:
    execute("UPDATE browser_sessions SET expires_at = started_at")
    assert not is_in(browser)


def test_a_cookie_from_before_the_sign_in_is_nobody(app: Flask, user: User, world: World) -> None:
    victim = Browser(app)
    victim.get("/login")
    planted = cookie_of(victim)
    victim.sign_in(user.email, world.password)
    assert not is_in(with_cookie(app, planted))


@pytest.mark.fault
def test_signing_in_anew_ends_the_session_that_was_there(
    app: Flask, browser: Browser, user: User, world: World
) -> None:
    before = cookie_of(browser)
    # The form of the signed-out page, sent by who is signed in: as with two windows.
    token = (
        browser.get("/account").get_data(as_text=True).split('name="csrf_token" type="hidden" value="')[1].split('"')[0]
    )
    sent = {"email": user.email, "password": world.password, "csrf_token": token, "next": "/account"}
    assert browser.client.post("/login", data=sent).status_code == 303
    assert is_in(browser)
    assert not is_in(with_cookie(app, before))


def test_a_remember_cookie_signed_with_the_servers_secret_is_nobody(app: Flask, user: User) -> None:
    forger = Browser(app)
    with app.test_request_context():
        forger.client.set_cookie("remember_token", encode_cookie(user.id))
    assert not is_in(forger)


def test_a_form_of_an_ended_session_changes_nothing(browser: Browser, user: User, world: World) -> None:
    page = browser.get("/account")
    browser.submit("/logout")
    browser.sign_in(user.email, world.password)
    browser.page = page
    assert browser.submit("/account/tokens/tok_x/revoke").status_code == 400


@pytest.mark.fault
@pytest.mark.parametrize(
    ("path", "form", "end"),
    [
        ("/logout", "/account", "signed out"),
        ("/account/tokens/tok_x/revoke", "/account", "disabled"),
        ("/account/sessions/ses_x/end", "/account", "password"),
        ("/account/password", "/account/password", "password"),
        ("/activate/decision", "/activate", "disabled"),
        ("/invites/miv_x", "/account", "signed out"),
        ("/auth/apple/authorize?redirect_uri=http://localhost:1/", "/account", "signed out"),
        ("/auth/apple/authorize?redirect_uri=http://localhost:1/", "/account", "password"),
    ],
)
def test_no_page_acts_for_a_session_that_has_just_ended(
    app: Flask, browser: Browser, user: User, world: World, path: str, form: str, end: str
) -> None:
    found: list[dict[str, list[str]]] = []

    def step_in() -> None:
        app.before_request_funcs[None].remove(step_in)
        world.clock.turn(seconds=1)  # type: ignore[attr-defined]
        if end == "signed out":
            execute("UPDATE browser_sessions SET ended_at = started_at")
        with own_session(db.engine) as session, writing(session):
            if end == "disabled":
                disable_user(session, world.clock, SYSTEM, get_user(session, user.id))
            if end == "password":
                set_password(session, world.clock, SYSTEM, get_user(session, user.id), "another hash")
        found.append(all_rows())

    fields = {"decision": "approve", "user_code": "BCDF-GHJK", "current": world.password}
    new = "a quite new password"
    browser.get(form)
    app.before_request_funcs.setdefault(None, []).append(step_in)
    sent = browser.submit(path, password=new, repeated=new, **fields)
    assert sent.status_code == 303
    assert sent.headers["Location"].startswith("/login")
    assert [all_rows()] == found
