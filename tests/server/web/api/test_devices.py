"""Devices over HTTP."""

from typing import Any

import pytest

from mushu.environment import Environment
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.environments import within
from mushu.server.resources import devices
from tests.server.web.asking import answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

TOKEN = "0123456789abcdef" * 4


def register(house: House, stage: Stage, **more: object) -> dict[str, Any]:
    body = {"user_id": "ada", "token": TOKEN} | more
    return answer(house.client.post(f"/tenants/{stage.tenant}/devices", json=body, headers=stage.headers))


def listed(house: House, stage: Stage, query: str = "") -> list[dict[str, Any]]:
    path = f"/tenants/{stage.tenant}/devices{query}"
    devices: list[dict[str, Any]] = answer(house.client.get(path, headers=stage.headers))["devices"]
    return devices


class TestRegister:
    def test_it_works(self, house: House, stage: Stage) -> None:
        registered = register(house, stage, platform="watchos", app_version="1.2.3")
        assert registered == {
            "tenant_id": stage.tenant,
            "user_id": "ada",
            "token": TOKEN,
            "platform": "watchos",
            "app_version": "1.2.3",
            "environment": "live",
            "created_at": registered["created_at"],
            "updated_at": registered["created_at"],
        }
        assert listed(house, stage) == [registered]

    def test_again_is_an_update(self, house: House, stage: Stage) -> None:
        first = register(house, stage, app_version="1")
        house.clock.turn(hours=1)
        again = register(house, stage, user_id="grace", app_version="2")
        assert listed(house, stage) == [again]
        assert (again["user_id"], again["app_version"]) == ("grace", "2")
        assert again["created_at"] == first["created_at"] < again["updated_at"]

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"token": "short"}, "token"),
            ({"token": "a" * 201}, "token"),
            ({"token": "../../3/device/x"}, "token"),
            ({"token": "aaaaaaaa\r\nx: y"}, "token"),
            ({"token": "aaaaaaaaé"}, "token"),
            ({"user_id": ""}, "user_id"),
            ({"user_id": " ada"}, "user_id"),
            ({"user_id": "a\nb"}, "user_id"),
            ({"user_id": "a" * 201}, "user_id"),
            ({"platform": "toaster"}, "platform"),
            ({"app_version": "1\x00"}, "app_version"),
            ({"app_version": "1" * 65}, "app_version"),
        ],
    )
    def test_what_is_not_usable_is_refused(
        self, house: House, stage: Stage, change: dict[str, object], field: str
    ) -> None:
        body = {"user_id": "ada", "token": TOKEN} | change
        response = house.client.post(f"/tenants/{stage.tenant}/devices", json=body, headers=stage.headers)
        assert refusal(response, 422, "invalid_input")["errors"][0]["field"] == field
        assert listed(house, stage) == []

    def test_a_user_has_only_so_many(self, house: House, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(devices, "MOST_OF_A_USER", 2)
        for number in range(2):
            register(house, stage, token=f"{number}" * 64)
        body = {"user_id": "ada", "token": TOKEN}
        response = house.client.post(f"/tenants/{stage.tenant}/devices", json=body, headers=stage.headers)
        refusal(response, 422, "invalid_input")
        register(house, stage, token="0" * 64)  # one that is there can always say that it still is
        register(house, stage, user_id="grace")
        assert len(listed(house, stage)) == 3


@pytest.mark.fault
def test_a_token_in_capitals_is_the_same_device(house: House, stage: Stage) -> None:
    register(house, stage)
    again = register(house, stage, user_id="grace", token=TOKEN.upper())
    assert listed(house, stage) == [again]
    assert (again["user_id"], again["token"]) == ("grace", TOKEN)
    with within(db.session, Environment.LIVE), writing(db.session):
        devices.forget_dead(db.session, stage.tenant, [TOKEN.upper()], since=house.clock())
    assert listed(house, stage) == []
    register(house, stage)
    path = f"/tenants/{stage.tenant}/devices/{TOKEN.upper()}"
    assert answer(house.client.delete(path, headers=stage.headers)) == {"deleted": True}


def test_of_a_token_that_is_not_hexadecimal_the_case_counts(house: House, stage: Stage) -> None:
    for token in ("abcdefgh", "ABCDEFGH"):
        register(house, stage, token=token)
    assert {device["token"] for device in listed(house, stage)} == {"abcdefgh", "ABCDEFGH"}


class TestList:
    def test_by_user(self, house: House, stage: Stage) -> None:
        register(house, stage)
        register(house, stage, user_id="grace", token="b" * 64)
        assert [device["user_id"] for device in listed(house, stage, "?user_id=grace")] == ["grace"]
        assert listed(house, stage, "?user_id=nobody") == []

    def test_in_pages(self, house: House, stage: Stage) -> None:
        for number in range(5):
            register(house, stage, token=f"{number}" * 64)
        path, found, cursor = f"/tenants/{stage.tenant}/devices?limit=2", [], ""
        while True:
            page = answer(house.client.get(path + cursor, headers=stage.headers))
            found += [device["token"][0] for device in page["devices"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert sorted(found) == ["0", "1", "2", "3", "4"]


def test_unregistering_works_for_that_tenant_only(house: House, stage: Stage) -> None:
    other = Stage(house.world)
    register(house, stage)
    register(house, other)
    path = f"/tenants/{stage.tenant}/devices/{TOKEN}"
    assert answer(house.client.delete(path, headers=stage.headers)) == {"deleted": True}
    assert (listed(house, stage), len(listed(house, other))) == ([], 1)
    refusal(house.client.delete(path, headers=stage.headers), 404, "device_not_found")
    assert len(listed(house, other)) == 1


def test_only_that_users_where_one_is_named(house: House, stage: Stage) -> None:
    """As the published client asks."""
    register(house, stage)
    path = f"/tenants/{stage.tenant}/devices/{TOKEN}?user_id="
    refusal(house.client.delete(f"{path}grace", headers=stage.headers), 404, "device_not_found")
    assert answer(house.client.delete(f"{path}ada", headers=stage.headers)) == {"deleted": True}


def test_a_dead_device_is_forgotten_unless_it_came_back_since(house: House, stage: Stage) -> None:
    for number in range(2):
        register(house, stage, token=f"{number}" * 64)
    house.clock.turn(minutes=1)
    dead_since = house.clock()
    house.clock.turn(minutes=1)
    register(house, stage, token="1" * 64)
    with within(db.session, Environment.LIVE), writing(db.session):
        devices.forget_dead(db.session, stage.tenant, ["0" * 64, "1" * 64], since=dead_since)
    assert [device["token"][0] for device in listed(house, stage)] == ["1"]
