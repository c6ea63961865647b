"""An organization with an owner, and the browser in which the owner is signed in."""

from dataclasses import dataclass
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from mushu.destination import Location
from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server.audit import SYSTEM, Actor, ActorKind
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.delivery.ledger import open_delivery
from mushu.server.delivery.models import Condition, DeliveryState
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.orgs.models import Organization, Role
from mushu.server.users.models import User
from mushu.server.users.service import get_user, set_password
from tests.server.conftest import World
from tests.server.verbs import issue_key
from tests.server.web.pages.browser import Browser

#: Elements that have no end.
_VOID = {"meta", "link", "input", "br", "img"}


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

    def key(self, name: str, *, lives_days: float | None = None, environment: Environment = Environment.LIVE) -> ApiKey:
        """Return a new key of the owner."""
        clock, owner = self.world.clock, Actor(ActorKind.USER, self.owner.id)
        ends = clock() + timedelta(days=lives_days) if lives_days is not None else None
        request = KeyRequest(org_id=self.org.id, name=name, expires_at=ends, environment=environment)
        with writing(db.session):
            return issue_key(db.session, clock, owner, request)[0]

    def deliver(self, key: ApiKey, condition: Condition | None = None, **changes: Any) -> None:
        """Write down that a key is at a destination, and what was found there."""
        now, owner = self.world.clock(), Actor(ActorKind.USER, self.owner.id)
        with writing(db.session):
            delivery = open_delivery(key.id, f"env:/srv/{key.id}", Location(""), "", now, now, owner)
            delivery.state, delivery.version, delivery.verified_at = DeliveryState.VERIFIED, "3", now
            delivery.condition, delivery.checked_at = condition, now if condition else None
            for name, value in changes.items():
                setattr(delivery, name, value)
            db.session.add(delivery)

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
