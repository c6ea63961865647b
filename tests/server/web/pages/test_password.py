"""The page behind a one-time link."""

from html import escape

import pytest
from werkzeug.test import TestResponse

from mushu.keyformat import Prefix, generate
from mushu.secret import Secret
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.users.links import issue_link
from mushu.server.users.models import User
from mushu.server.users.passwords import MAX_LENGTH, MIN_LENGTH, Passwords
from tests.server.conftest import World, bearer
from tests.server.web.asking import SeparateClient, all_rows, refusal
from tests.server.web.conftest import House
from tests.server.web.pages.test_reference import Page

pytestmark = pytest.mark.database

PASSWORD = "a new and long passphrase"


@pytest.fixture
def user(house: House) -> User:
    return house.world.user()


@pytest.fixture
def link(house: House, user: User) -> str:
    return link_for(house.world, user)


def link_for(world: World, user: User) -> str:
    with writing(db.session):
        return issue_link(db.session, world.clock, SYSTEM, db.session.merge(user)).reveal()


def form(password: str = PASSWORD, repeated: str | None = None) -> dict[str, str]:
    return {"password": password, "repeated": password if repeated is None else repeated}


def can_sign_in(client: SeparateClient, email: str, password: str = PASSWORD) -> bool:
    return client.post("/auth/login", json={"email": email, "password": password}).status_code == 200


def gone(response: TestResponse) -> None:
    assert response.status_code == 404
    assert response.content_type == "text/html; charset=utf-8"
    assert "The link is not valid any more" in response.get_data(as_text=True)


class TestTheForm:
    def test_it_works(self, house: House, user: User, link: str) -> None:
        response = house.client.get(f"/password/{link}")
        assert response.status_code == 200
        page = response.get_data(as_text=True)
        assert user.email in page
        assert '<form method="post">' in page
        assert f"at least {MIN_LENGTH} characters" in page

    def test_looking_does_not_use_the_link_up(self, house: House, user: User, link: str) -> None:
        before = all_rows()
        for method in ("GET", "HEAD", "OPTIONS", "GET"):
            assert house.client.open(f"/password/{link}", method=method).status_code == 200
        assert all_rows() == before
        assert house.client.post(f"/password/{link}", data=form()).status_code == 200

    def test_it_runs_nothing_loads_nothing_from_elsewhere_and_repeats_no_link(self, house: House, link: str) -> None:
        for response in (
            house.client.get(f"/password/{link}"),
            house.client.post(f"/password/{link}", data=form("short")),
            house.client.post(f"/password/{link}", data=form()),
            house.client.get(f"/password/{link}"),
        ):
            page = Page(response.get_data(as_text=True))
            assert {address.split("?")[0] for address in page.references} <= {
                "#main", "/static/tokens.css", "/static/app.css", "/login", "/dashboard",
            }  # fmt: skip
            assert not page.tags & {"script", "iframe", "object", "embed", "img", "base", "style"}
            assert not [name for name in page.attributes if name.startswith("on") or name == "style"]
            assert link not in response.get_data(as_text=True) + str(response.headers)
            assert response.headers["Referrer-Policy"] == "no-referrer"
            assert response.headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize(
        "email", ["<b>bold</b>@example.com", '"><script>alert(1)</script>@x', "{{7*7}}@x", "a&b'c@x"]
    )
    def test_an_address_is_text_and_not_markup(self, house: House, email: str) -> None:
        link = link_for(house.world, house.world.user(email))
        for response in (
            house.client.get(f"/password/{link}"),
            house.client.post(f"/password/{link}", data=form("short")),
            house.client.post(f"/password/{link}", data=form()),
        ):
            page = response.get_data(as_text=True)
            assert email not in page.replace(escape(email), "") or email == escape(email)
            assert "<script" not in page
            assert "49@x" not in page


class TestSetting:
    def test_it_works_once_and_ends_the_tokens_from_before(self, house: House, user: User, link: str) -> None:
        headers = bearer(house.world.token(user))
        house.clock.turn(seconds=1)
        response = house.client.post(f"/password/{link}", data=form())
        assert response.status_code == 200
        assert "Your password is set" in response.get_data(as_text=True)
        gone(house.client.post(f"/password/{link}", data=form("another long passphrase")))
        gone(house.client.get(f"/password/{link}"))
        assert can_sign_in(house.client, user.email)
        refusal(house.client.get("/users/me", headers=headers), 401, "deleted_credential")

    @pytest.mark.parametrize(
        "password",
        [
            "é" * MIN_LENGTH,
            "é" * MAX_LENGTH,
            "a\x00bcdefghijkl",
            "  spaces around  ",
            "鍵" * 12,
            "<script>alert</script>",
        ],
    )
    def test_any_that_is_not_too_short_or_too_long_can_be_used(
        self, house: House, user: User, link: str, password: str
    ) -> None:
        assert house.client.post(f"/password/{link}", data=form(password)).status_code == 200
        assert can_sign_in(house.client, user.email, password)


class TestRefusals:
    @pytest.mark.parametrize(
        ("sent", "sentence"),
        [
            (form("x" * (MIN_LENGTH - 1)), "A password must have 12 to 1024 characters."),
            (form("x" * (MAX_LENGTH + 1)), "A password must have 12 to 1024 characters."),
            (form(""), "A password must have 12 to 1024 characters."),
            ({}, "A password must have 12 to 1024 characters."),
            (form(PASSWORD, "another long passphrase"), "The two passwords differ."),
            (form(PASSWORD, ""), "The two passwords differ."),
            ({"password": PASSWORD}, "The two passwords differ."),
            ({"repeated": PASSWORD}, "The two passwords differ."),
        ],
    )
    def test_say_what_is_wrong_and_leave_the_link_usable(
        self, house: House, user: User, link: str, sent: dict[str, str], sentence: str
    ) -> None:
        before = all_rows()
        response = house.client.post(f"/password/{link}", data=sent)
        page = response.get_data(as_text=True)
        assert response.status_code == 422
        assert sentence in page
        assert 'role="alert"' in page
        assert all_rows() == before
        assert house.client.post(f"/password/{link}", data=form()).status_code == 200

    def test_do_not_repeat_the_password(self, house: House, link: str) -> None:
        for sent in (form("canary"), form("canary and more of it", "another canary")):
            assert "canary" not in house.client.post(f"/password/{link}", data=sent).get_data(as_text=True)

    @pytest.mark.parametrize("given", ["x", "%25", "_", "mpl_", "%00", "' OR 1=1 --", "mpl_" + "A" * 28, "a" * 10_000])
    def test_what_is_no_link_is_gone_and_costs_no_hash(
        self, house: House, link: str, monkeypatch: pytest.MonkeyPatch, given: str
    ) -> None:
        hashed: list[Secret] = []
        monkeypatch.setattr(Passwords, "hash", lambda _, password: hashed.append(password))
        for response in (house.client.get(f"/password/{given}"), house.client.post(f"/password/{given}", data=form())):
            gone(response)
        assert hashed == []

    def test_a_link_with_one_character_changed_is_gone(self, house: House, link: str) -> None:
        for place in range(len(link)):
            changed = link[:place] + ("A" if link[place] != "A" else "B") + link[place + 1 :]
            gone(house.client.get(f"/password/{changed}"))

    def test_unknown_used_and_expired_links_look_the_same(self, house: House, user: User, link: str) -> None:
        unknown = house.client.get(f"/password/{generate(Prefix.PASSWORD_LINK).reveal()}")
        house.client.post(f"/password/{link}", data=form())
        used = house.client.get(f"/password/{link}")
        old = link_for(house.world, house.world.user())
        house.clock.turn(days=3)
        expired = house.client.get(f"/password/{old}")
        assert unknown.data == used.data == expired.data

    def test_another_credential_is_no_link(self, house: House, user: User) -> None:
        _, key = house.world.key(house.world.org(user))
        for credential in (key, house.world.token(user)):
            gone(house.client.get(f"/password/{credential}"))
