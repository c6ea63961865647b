"""An organization with an owner, and the browser in which the owner is signed in."""

from dataclasses import dataclass
from html.parser import HTMLParser

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from mushu.secret import Secret
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.orgs.models import Organization, Role
from mushu.server.users.models import User
from mushu.server.users.service import get_user, set_password
from tests.server.conftest import World
from tests.server.web.pages.browser import Browser

#: Inside one element only, such as what a `th` holds.
_VOID = {"meta", "link", "input", "br", "path", "rect", "use", "circle", "img"}


class Shown(HTMLParser):
    """A page as it is shown: its text, its headings, and each of its elements with what it is called."""

    def __init__(self, response: TestResponse) -> None:
        super().__init__()
        self.html = response.get_data(as_text=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(self.html)
        assert self._open == [], "what is opened is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def links(self) -> list[str]:
        return [attributes["href"] for attributes in self.all("a")]


@dataclass
class Office:
    """People of one organization at their browsers."""

    app: Flask
    world: World
    owner: User
    org: Organization
    browser: Browser

    @property
    def home(self) -> str:
        return f"/dashboard/{self.org.id}/"

    @property
    def sandbox(self) -> str:
        return f"/dashboard/{self.org.id}/sandbox/"

    def browser_of(self, user: User) -> Browser:
        hashed = self.world.core.passwords.hash(Secret(self.world.password))
        with writing(db.session):
            set_password(db.session, self.world.clock, SYSTEM, get_user(db.session, user.id), hashed)
        browser = Browser(self.app)
        assert browser.sign_in(user.email, self.world.password).status_code == 303
        return browser

    def member(self) -> Browser:
        return self.browser_of(self.world.member(self.org, Role.MEMBER))

    def outsider(self) -> Browser:
        stranger = self.world.user()
        self.world.org(stranger, "northwind")
        return self.browser_of(stranger)

    def page(self, path: str) -> Shown:
        response = self.browser.get(path)
        assert response.status_code == 200, response.get_data(as_text=True)
        return Shown(response)


@pytest.fixture
def office(app: Flask, world: World) -> Office:
    owner = world.user("alice@example.com", with_password=True)
    browser = Browser(app)
    browser.sign_in(owner.email, world.password)
    return Office(app, world, owner, world.org(owner), browser)
