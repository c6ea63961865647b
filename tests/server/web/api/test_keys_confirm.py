"""A key that the client delivers itself: pending until it proves it."""

from datetime import timedelta

import pytest

from mushu.environment import Environment
from mushu.secret import digest_of
from mushu.server.keys import Scope
from mushu.server.lifecycle.confirm import CONFIRM_WITHIN
from tests.conftest import TurnableClock
from tests.server.conftest import World, api_key
from tests.server.web.asking import SeparateClient, answer, refusal

PLACE = "env:/home/ada/.env#MUSHU_API_KEY"


@pytest.fixture
def admin(world: World) -> tuple[str, dict[str, str]]:
    """An organization and the headers of its admin key."""
    org = world.org()
    return org.id, api_key(world.key(org, Scope.ADMIN)[1])


def create(client: SeparateClient, admin: tuple[str, dict[str, str]]) -> dict[str, str]:
    org_id, headers = admin
    body = {"name": "k", "delivery": "client"}
    return answer(client.post(f"/orgs/{org_id}/api-keys", headers=headers, json=body))


def proof(key: str, place: str = PLACE) -> dict[str, object]:
    return {"deliveries": [{"place": place, "digest": digest_of(key)}]}


def test_it_works(client: SeparateClient, admin: tuple[str, dict[str, str]], clock: TurnableClock) -> None:
    org_id, headers = admin
    made = create(client, admin)
    assert list(made) == ["key_id", "key", "name", "scopes", "created_at", "environment", "confirm_by"]
    refusal(client.get("/orgs", headers=api_key(made["key"])), 401, "inactive_credential")
    path = f"/orgs/{org_id}/api-keys/{made['key_id']}"
    assert answer(client.get(path, headers=headers))["state"] == "pending"
    done = answer(client.post(f"{path}/delivered", headers=headers, json=proof(made["key"])))
    assert (done["state"], done["delivered_to"]) == ("active", [PLACE])
    assert "confirm_by" not in done
    assert answer(client.get("/orgs", headers=api_key(made["key"])))["orgs"]
    assert answer(client.post(f"{path}/delivered", headers=headers, json=proof(made["key"])))["state"] == "active"


def test_a_wrong_digest_leaves_it_inert(client: SeparateClient, admin: tuple[str, dict[str, str]]) -> None:
    org_id, headers = admin
    made = create(client, admin)
    path = f"/orgs/{org_id}/api-keys/{made['key_id']}/delivered"
    bodies: list[object] = [proof("something else"), {"deliveries": []}, {}, {"deliveries": [{"place": PLACE}]}]
    for body in bodies:
        refusal(client.post(path, headers=headers, json=body), 422, "invalid_input")
    refusal(client.get("/orgs", headers=api_key(made["key"])), 401, "inactive_credential")


def test_too_late_is_too_late(client: SeparateClient, admin: tuple[str, dict[str, str]], clock: TurnableClock) -> None:
    org_id, headers = admin
    made = create(client, admin)
    clock.now += CONFIRM_WITHIN + timedelta(seconds=1)
    path = f"/orgs/{org_id}/api-keys/{made['key_id']}/delivered"
    refusal(client.post(path, headers=headers, json=proof(made["key"])), 409, "wrong_state")


def test_a_key_of_another_environment_or_kind_is_not_confirmed(
    client: SeparateClient, admin: tuple[str, dict[str, str]], world: World
) -> None:
    org_id, headers = admin
    made = create(client, admin)
    org = world.org()
    test = api_key(world.key(org, Scope.ADMIN, environment=Environment.TEST)[1])
    path = f"/sandbox/orgs/{org.id}/api-keys/{made['key_id']}/delivered"
    refusal(client.post(path, headers=test, json=proof(made["key"])), 404, "key_not_found")
    shown = answer(client.post(f"/orgs/{org_id}/api-keys", headers=headers, json={"name": "k"}))
    path = f"/orgs/{org_id}/api-keys/{shown['key_id']}/delivered"
    refusal(client.post(path, headers=headers, json=proof(shown["key"])), 409, "wrong_state")


@pytest.mark.parametrize("delivery", ["server", "env:/srv/.env", "", True, ["client"]])
def test_no_other_way_of_delivery_can_be_asked_for(
    client: SeparateClient, admin: tuple[str, dict[str, str]], delivery: object
) -> None:
    org_id, headers = admin
    body = {"name": "k", "delivery": delivery}
    refusal(client.post(f"/orgs/{org_id}/api-keys", headers=headers, json=body), 422, "invalid_input")
