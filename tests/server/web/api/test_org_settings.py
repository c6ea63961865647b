"""The settings of an organization over HTTP, and what follows from them."""

from datetime import timedelta
from typing import Any

import pytest

from mushu.server.audit import SYSTEM
from mushu.server.clock import rfc3339
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.keys.rotation import Terms, begin
from tests.server.conftest import api_key
from tests.server.web.asking import answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

_NOTHING = {
    "default_scopes": None,
    "default_lifetime": None,
    "default_rotate_every": None,
    "max_key_age": None,
    "email_domains": None,
}


def change(house: House, stage: Stage, **settings: object) -> dict[str, Any]:
    return answer(house.client.patch(f"/orgs/{stage.org}/settings", json=settings, headers=stage.headers))


def create_key(house: House, stage: Stage, **more: object) -> dict[str, Any]:
    path = f"/orgs/{stage.org}/api-keys"
    return answer(house.client.post(path, json={"name": "k"} | more, headers=stage.headers))


class TestSettings:
    def test_nothing_is_settled_at_first_and_what_is_then_is_kept(self, house: House, stage: Stage) -> None:
        assert answer(house.client.get(f"/orgs/{stage.org}/settings", headers=stage.headers)) == _NOTHING
        settings = {
            "default_scopes": ["write", "read"],
            "default_lifetime": "60d",
            "default_rotate_every": "30d",
            "max_key_age": "90d",
            "email_domains": ["Example.com", "example.com", "example.org"],
        }
        expected = settings | {"default_scopes": ["read", "write"], "email_domains": ["example.com", "example.org"]}
        assert change(house, stage, **settings) == expected
        assert answer(house.client.get(f"/orgs/{stage.org}/settings", headers=stage.headers)) == expected

    def test_only_what_is_named_changes_and_null_takes_it_back(self, house: House, stage: Stage) -> None:
        change(house, stage, default_lifetime="60d", max_key_age="90d")
        assert change(house, stage, max_key_age=None) == _NOTHING | {"default_lifetime": "60d"}

    @pytest.mark.parametrize(
        ("settings", "field"),
        [
            ({"default_scopes": []}, "scopes"),
            ({"default_scopes": ["root"]}, "scopes"),
            ({"default_lifetime": "soon"}, "default_lifetime"),
            ({"default_lifetime": "59m"}, "default_lifetime"),
            ({"max_key_age": "1s"}, "max_key_age"),
            ({"max_key_age": "30d", "default_lifetime": "60d"}, "default_lifetime"),
            ({"max_key_age": "30d", "default_rotate_every": "60d"}, "default_rotate_every"),
            ({"email_domains": []}, "email_domains"),
            ({"email_domains": ["example,com"]}, "email_domains"),
            ({"email_domains": ["@example.com"]}, "email_domains"),
            ({"email_domains": ["localhost"]}, "email_domains"),
            ({"color": "red"}, "color"),
        ],
    )
    def test_what_is_not_usable_is_refused(
        self, house: House, stage: Stage, settings: dict[str, object], field: str
    ) -> None:
        response = house.client.patch(f"/orgs/{stage.org}/settings", json=settings, headers=stage.headers)
        assert refusal(response, 422, "invalid_input")["errors"][0]["field"] == field
        assert answer(house.client.get(f"/orgs/{stage.org}/settings", headers=stage.headers)) == _NOTHING

    def test_one_that_contradicts_what_was_settled_before_is_refused(self, house: House, stage: Stage) -> None:
        change(house, stage, default_lifetime="60d")
        response = house.client.patch(f"/orgs/{stage.org}/settings", json={"max_key_age": "30d"}, headers=stage.headers)
        assert refusal(response, 422, "invalid_input")["errors"][0]["field"] == "default_lifetime"


class TestNewKeys:
    def test_take_the_defaults_unless_they_say_something_else(self, house: House, stage: Stage) -> None:
        change(house, stage, default_scopes=["read"], default_lifetime="60d", default_rotate_every="30d")
        key = create_key(house, stage)
        expires_at = rfc3339(house.clock() + timedelta(days=60))
        assert (key["scopes"], key["expires_at"], key["rotate_every"]) == (["read"], expires_at, "30d")
        expires_at = rfc3339(house.clock() + timedelta(days=700))
        key = create_key(house, stage, scopes=["admin"], expires_at=expires_at, rotate_every="90d")
        assert (key["scopes"], key["expires_at"], key["rotate_every"]) == (["admin"], expires_at, "90d")

    def test_end_when_the_organization_says_at_the_latest(self, house: House, stage: Stage) -> None:
        change(house, stage, max_key_age="90d")
        assert create_key(house, stage)["expires_at"] == rfc3339(house.clock() + timedelta(days=90))
        body = {"name": "k", "expires_at": rfc3339(house.clock() + timedelta(days=91))}
        response = house.client.post(f"/orgs/{stage.org}/api-keys", json=body, headers=stage.headers)
        assert refusal(response, 422, "invalid_input")["errors"][0]["field"] == "expires_at"

    def test_keys_that_are_there_stay_as_they_are(self, house: House, stage: Stage) -> None:
        key = create_key(house, stage)
        change(house, stage, max_key_age="1d")
        house.clock.turn(days=2)
        assert house.client.get("/orgs", headers=api_key(key["key"])).status_code == 200

    @pytest.mark.parametrize("days", [None, 10, 400])
    def test_a_successor_lives_as_long_as_its_predecessor_was_to_or_as_long_as_it_may(
        self, house: House, stage: Stage, days: int | None
    ) -> None:
        more = {} if days is None else {"expires_at": rfc3339(house.clock() + timedelta(days=days))}
        key_id = create_key(house, stage, **more)["key_id"]
        change(
            house, stage, max_key_age="90d", default_lifetime="20d", default_rotate_every="5d", default_scopes=["read"]
        )
        with writing(db.session):
            successor, _ = begin(db.session, house.clock, SYSTEM, key_id, Terms())
        lives = successor.expires_at - house.clock() if successor.expires_at else None
        assert lives is not None
        assert round(lives / timedelta(days=1)) == min(days or 90, 90)
        assert (successor.scope_names, successor.rotate_every) == ("read,write", None)


class TestMembers:
    def test_of_other_domains_are_neither_invited_nor_added(self, house: House, stage: Stage) -> None:
        change(house, stage, email_domains=["acme.example"])
        invite = f"/orgs/{stage.org}/invites/email"
        refusal(house.client.post(invite, json={"email": "x@example.com"}, headers=stage.headers), 422, "invalid_input")
        answer(house.client.post(invite, json={"email": "x@ACME.example"}, headers=stage.headers))
        newcomer = {"user_id": stage.newcomer, "role": "member"}
        added = house.client.post(f"/orgs/{stage.org}/members", json=newcomer, headers=stage.headers)
        refusal(added, 422, "invalid_input")

    def test_nor_do_they_come_in_by_a_link(self, house: House, stage: Stage) -> None:
        link = answer(house.client.post(f"/orgs/{stage.org}/invites/link", json={}, headers=stage.headers))
        change(house, stage, email_domains=["acme.example"])
        stranger = house.world.user()
        headers = {"Authorization": f"Bearer {house.world.token(stranger)}"}
        path = f"/invites/{link['invite_token']}/accept"
        refusal(house.client.post(path, headers=headers), 422, "invalid_input")
        change(house, stage, email_domains=None)
        answer(house.client.post(path, headers=headers))
