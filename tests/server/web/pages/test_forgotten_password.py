"""A link for a forgotten password: by mail, to nobody's surprise, and telling nothing of who has an account."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask

from mushu.server.audit import SYSTEM
from mushu.server.config import Settings
from mushu.server.core import db, get_core
from mushu.server.db import writing
from mushu.server.errors import MailFailed
from mushu.server.mail import MailTemplate
from mushu.server.users.links import Postman
from mushu.server.users.models import User
from mushu.server.users.service import disable_user
from tests.conftest import TurnableClock
from tests.server.web.pages.browser import Browser

pytestmark = [pytest.mark.fault, pytest.mark.database]
PATH = "/forgotten-password"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, smtp_url="smtp://127.0.0.1:1", public_url="https://keys.example.com")


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    sent: list[tuple[str, str]] = []

    def send(_settings: Settings, recipient: str, _template: MailTemplate, link: str) -> None:
        sent.append((recipient, link))

    monkeypatch.setattr("mushu.server.web.pages.sign_in.send", send)
    yield sent
    wait()


def wait() -> None:
    for thread in threading.enumerate():
        if thread.name == "mail":
            thread.join(10)


def ask(browser: Browser, email: str) -> tuple[int, str]:
    browser.get(PATH)
    response = browser.submit(PATH, email=email)
    wait()
    return response.status_code, response.get_data(as_text=True).replace(email, "")


def test_the_link_comes_by_mail_and_the_answer_is_the_same_for_everybody(
    app: Flask, user: User, mails: list[tuple[str, str]], clock: TurnableClock
) -> None:
    browser = Browser(app)
    assert PATH in browser.get("/login").get_data(as_text=True)
    answers = [ask(browser, email) for email in (user.email, "nobody@example.com")]
    assert answers[0] == answers[1]
    assert answers[0][0] == 200
    ((recipient, link),) = mails
    assert recipient == user.email
    assert link.startswith("https://keys.example.com/password/mpl_"), "never the Host that a client names"
    path = link.removeprefix("https://keys.example.com")
    form = {"password": "correct horse battery", "repeated": "correct horse battery"}
    assert 'href="/login"' in browser.client.post(path, data=form).get_data(as_text=True)
    clock.turn(hours=1)
    with writing(db.session):
        disable_user(db.session, clock, SYSTEM, user)
    assert ask(browser, user.email) == answers[0]
    assert len(mails) == 1


def test_a_stranger_can_ask_for_few_only_whether_or_not_there_is_an_account(
    app: Flask, user: User, mails: list[tuple[str, str]]
) -> None:
    browser = Browser(app)
    for email in (user.email, "nobody@example.com"):
        answers = [ask(browser, email) for _ in range(4)]
        assert [status for status, _ in answers] == [200, 200, 200, 429]
        assert "Too many links were asked for. Try again in 300 seconds." in answers[-1][1]
    assert len(mails) == 3


def test_a_form_without_its_token_sends_nothing(app: Flask, user: User, mails: list[tuple[str, str]]) -> None:
    assert Browser(app).client.post(PATH, data={"email": user.email}).status_code == 422
    wait()
    assert mails == []


def test_a_mail_server_that_refuses_is_told_to_the_log_only(
    app: Flask, user: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise MailFailed("The mail was not sent (canary).")

    monkeypatch.setattr("mushu.server.web.pages.sign_in.send", refuse)
    status, page = ask(Browser(app), user.email)
    assert (status, "canary" in page) == (200, False)
    assert "the link for a forgotten password was not sent" in caplog.text


def test_where_many_mails_wait_nothing_is_counted(app: Flask, user: User, mails: list[tuple[str, str]]) -> None:
    with app.app_context():
        postman: Postman = get_core().postman
    for _ in range(8):
        postman._free.acquire()
    assert ask(Browser(app), user.email)[0] == 429
    for _ in range(8):
        postman._free.release()
    assert ask(Browser(app), user.email)[0] == 200
    assert len(mails) == 1


class TestWithoutMail:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return replace(settings, smtp_url="")

    def test_the_page_says_what_the_operator_runs(self, app: Flask, user: User) -> None:
        browser = Browser(app)
        page = browser.get(PATH).get_data(as_text=True)
        assert "flask users reset" in page
        assert "<form" not in page
        assert browser.client.post(PATH, data={"email": user.email}).status_code == 422
