"""Whose key a digest is: told of one's own keys only, and changed by nothing."""

import pytest

from mushu.destination import digest_of
from mushu.environment import Environment
from mushu.server.keys.states import State
from tests.conftest import TurnableClock
from tests.server.web.api.test_keys import create, keys_of, put_into
from tests.server.web.asking import all_rows, answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

LIVE, TEST = Environment.LIVE, Environment.TEST


def test_it_works(house: House) -> None:
    stage = Stage(house.world)
    made = create(house, stage)
    for digest in (digest_of(made["key"]), digest_of(made["key"]).upper()):
        found = answer(house.client.post(f"{keys_of(stage)}/lookup", json={"digest": digest}, headers=stage.headers))
        shown = answer(house.client.get(f"{keys_of(stage)}/{made['key_id']}", headers=stage.headers))
        assert found == shown
        assert (found["key_id"], found["state"]) == (made["key_id"], "active")


@pytest.mark.parametrize("state", [State.REVOKED, State.FAILED, State.PENDING, State.RETIRING])
def test_a_key_is_found_in_every_state(house: House, state: State) -> None:
    stage = Stage(house.world)
    made = create(house, stage)
    put_into(house.world, made["key_id"], state)
    body = {"digest": digest_of(made["key"])}
    assert answer(house.client.post(f"{keys_of(stage)}/lookup", json=body, headers=stage.headers))["state"] == state


def test_a_key_of_the_other_side_or_of_another_organization_is_as_unknown_as_no_key(house: House) -> None:
    stage, elsewhere = Stage(house.world), Stage(house.world)
    live, foreign = create(house, stage)["key"], create(house, elsewhere)["key"]
    path = keys_of(stage, TEST)
    refused = []
    for side, key in ((keys_of(stage), foreign), (path, live), (path, "no key at all")):
        response = house.client.post(f"{side}/lookup", json={"digest": digest_of(key)}, headers=stage.headers)
        refused.append(refusal(response, 404, "key_not_found"))
    assert refused[1]["detail"] == refused[2]["detail"]
    assert live not in str(refused)


@pytest.mark.parametrize(
    "digest", ["", "a" * 63, "a" * 65, "g" * 64, f"{'a' * 64}\n", f" {'a' * 63}", None, 1, ["a" * 64], "é" * 64]
)
def test_what_is_no_digest_is_refused_and_not_repeated(house: House, digest: object) -> None:
    stage = Stage(house.world)
    response = house.client.post(f"{keys_of(stage)}/lookup", json={"digest": digest}, headers=stage.headers)
    refusal(response, 422, "invalid_input")


def test_a_look_up_changes_nothing(house: House, clock: TurnableClock) -> None:
    stage = Stage(house.world)
    key = create(house, stage)["key"]
    headers = stage.headers
    before = all_rows()
    answer(house.client.post(f"{keys_of(stage)}/lookup", json={"digest": digest_of(key)}, headers=headers))
    assert all_rows() == before
