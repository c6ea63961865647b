"""The outbox, as a signed-in user sees it."""

from typing import Any

import pytest
from flask import Flask

from mushu.server.keys import Scope
from tests.server.conftest import World, api_key, bearer
from tests.server.web.asking import SeparateClient, answer
from tests.server.web.pages.browser import Browser


class Shop:
    """An organization with an app that has no credentials."""

    def __init__(self, world: World, client: SeparateClient) -> None:
        self.world, self.client = world, client
        self.owner = world.user(with_password=True)
        self.org = world.org(self.owner)
        self.headers = bearer(world.token(self.owner))

    def notify(self, prefix: str = "", **body: Any) -> dict[str, Any]:
        made = {"org_id": self.org.id, "bundle_id": "com.example.shop"}
        tenant = answer(self.client.post(f"{prefix}/tenants", json=made, headers=self.headers))
        path = f"{prefix}/tenants/{tenant['tenant_id']}"
        device = {"user_id": body["user_id"], "token": "a" * 64}
        answer(self.client.post(f"{path}/devices", json=device, headers=self.headers))
        return answer(self.client.post(f"{path}/notify", json=body, headers=self.headers))


@pytest.fixture
def shop(world: World, app: Flask) -> Shop:
    return Shop(world, SeparateClient(app))


def page(app: Flask, shop: Shop, email: str | None = None) -> str:
    browser = Browser(app)
    browser.sign_in(email or shop.owner.email, shop.world.password)
    response = browser.get("/outbox")
    assert response.status_code == 200
    return response.get_data(as_text=True)


def test_what_was_recorded_is_shown_of_live_and_of_test(app: Flask, shop: Shop) -> None:
    shop.notify(user_id="ada", alert={"title": "Parcel", "body": "It is at your door."})
    shop.notify("/sandbox", user_id="grace", alert={"body": "Only a test."}, data={"order": 7})
    shown = page(app, shop)
    for text in ("Parcel", "It is at your door.", "ada", "Only a test.", "grace", "1 device", "com.example.shop"):
        assert text in shown
    assert shown.index("Only a test.") > 0
    assert '<span class="chip">test</span>' in shown


def test_nothing_of_a_notification_becomes_part_of_the_page(app: Flask, shop: Shop) -> None:
    shop.notify(user_id="<b>ada</b>", alert={"title": "<script>x</script>"}, data={"k": "</pre><script>y</script>"})
    shown = page(app, shop)
    assert "<script>" not in shown
    assert "<b>ada" not in shown


def test_others_see_nothing_of_it(app: Flask, shop: Shop, world: World) -> None:
    shop.notify(user_id="ada", alert={"body": "secret"})
    stranger = world.user(with_password=True)
    world.org(stranger)
    shown = page(app, shop, stranger.email)
    assert "secret" not in shown
    assert "The outbox is empty." in shown


def test_the_newest_stand_first_and_old_ones_not_at_all(app: Flask, shop: Shop, world: World) -> None:
    _, key = world.key(shop.org, *Scope)
    made = {"bundle_id": "com.example.shop"}
    tenant = answer(shop.client.post("/tenants", json=made, headers=api_key(key)))["tenant_id"]
    device = {"user_id": "ada", "token": "a" * 64}
    answer(shop.client.post(f"/tenants/{tenant}/devices", json=device, headers=api_key(key)))
    for number in range(52):
        world.clock.turn(seconds=1)  # type: ignore[attr-defined]
        body = {"user_id": "ada", "alert": {"body": f"number {number}."}}
        answer(shop.client.post(f"/tenants/{tenant}/notify", json=body, headers=api_key(key)))
    shown = page(app, shop)
    assert shown.index("number 51.") < shown.index("number 50.") < shown.index("number 2.")
    assert "number 1." not in shown
