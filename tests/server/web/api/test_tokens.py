"""A user's own CLI tokens over HTTP."""

import pytest

from mushu.server.keys import Scope
from mushu.server.users.models import User
from tests.conftest import TurnableClock
from tests.server.conftest import World, api_key, bearer
from tests.server.web.asking import SeparateClient, answer, refusal


@pytest.fixture
def user(world: World) -> User:
    return world.user(with_password=True)


def test_it_works(client: SeparateClient, world: World, user: User) -> None:
    first, second = world.token(user), world.token(user)
    tokens = answer(client.get("/auth/tokens", headers=bearer(first)))["tokens"]
    assert [list(token) for token in tokens] == [["token_id", "client_name", "issued_at", "expires_at", "current"]] * 2
    (other,) = [token for token in tokens if not token["current"]]
    assert answer(client.delete(f"/auth/tokens/{other['token_id']}", headers=bearer(first))) == {"deleted": True}
    refusal(client.get("/users/me", headers=bearer(second)), 401, "deleted_credential")
    assert len(answer(client.get("/auth/tokens", headers=bearer(first)))["tokens"]) == 1


def test_a_token_can_revoke_itself(client: SeparateClient, world: World, user: User) -> None:
    token = world.token(user)
    (mine,) = answer(client.get("/auth/tokens", headers=bearer(token)))["tokens"]
    assert mine["current"] is True
    answer(client.delete(f"/auth/tokens/{mine['token_id']}", headers=bearer(token)))
    refusal(client.get("/auth/tokens", headers=bearer(token)), 401, "deleted_credential")


def test_another_users_token_is_not_there(client: SeparateClient, world: World, user: User) -> None:
    theirs = world.token(world.user())
    (token,) = answer(client.get("/auth/tokens", headers=bearer(theirs)))["tokens"]
    refused = client.delete(f"/auth/tokens/{token['token_id']}", headers=bearer(world.token(user)))
    refusal(refused, 404, "token_not_found")
    answer(client.get("/users/me", headers=bearer(theirs)))


def test_refresh_swaps_a_token_for_a_new_one_of_twelve_hours(
    client: SeparateClient, world: World, user: User, clock: TurnableClock
) -> None:
    old = world.token(user)
    clock.turn(hours=11, minutes=59)
    swapped = answer(client.post("/auth/refresh", json={"access_token": old, "refresh_token": old}))
    assert swapped["tokens"]["access_token"] == swapped["access_token"] == swapped["tokens"]["refresh_token"]
    assert swapped["user"] == {"user_id": user.id, "email": user.email}
    refusal(client.get("/users/me", headers=bearer(old)), 401, "deleted_credential")
    clock.turn(hours=11, minutes=59)
    answer(client.get("/users/me", headers=bearer(swapped["access_token"])))
    clock.turn(minutes=2)
    refusal(client.get("/users/me", headers=bearer(swapped["access_token"])), 401, "expired_credential")


def test_refresh_refuses_what_is_over_wrong_or_no_token(
    client: SeparateClient, world: World, user: User, clock: TurnableClock
) -> None:
    old = world.token(user)
    _, key = world.key(world.org(), Scope.ADMIN)
    clock.turn(hours=12)
    refusal(client.post("/auth/refresh", json={"access_token": old}), 401, "expired_credential")
    refusal(client.post("/auth/refresh", json={"access_token": "nonsense"}), 401, "malformed_credential")
    refusal(client.post("/auth/refresh", json={"access_token": key}), 401, "malformed_credential")
    refusal(client.post("/auth/refresh", json={}, headers=api_key(key)), 403, "user_required")
    refusal(client.post("/auth/refresh", json={}), 401, "missing_credential")


def test_the_published_client_logs_out_with_the_token_in_the_body(
    client: SeparateClient, world: World, user: User
) -> None:
    token = world.token(user)
    answer(client.post("/auth/logout", json={"access_token": token, "refresh_token": ""}))
    refusal(client.get("/users/me", headers=bearer(token)), 401, "deleted_credential")


@pytest.mark.parametrize("body", [[], "mct_x", {"access_token": ["x"]}, {"access_token": None}, None])
def test_a_body_without_a_token_is_no_credential(client: SeparateClient, body: object) -> None:
    refusal(client.post("/auth/refresh", json=body), 401, "missing_credential")


def test_a_token_in_a_body_counts_only_where_it_is_asked_for(client: SeparateClient, world: World, user: User) -> None:
    body = {"access_token": world.token(user), "name": "x"}
    refusal(client.post("/orgs", json=body), 401, "missing_credential")
