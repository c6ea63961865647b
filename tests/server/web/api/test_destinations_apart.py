"""A test key writes nothing into a place of production: the names of live and of test are apart, over HTTP too."""

from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from mushu.environment import Environment
from tests.server.conftest import api_key
from tests.server.web.api.rotating import LIVE, TEST, deliver, name, owner, value
from tests.server.web.api.test_keys import keys_of
from tests.server.web.asking import all_rows, answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

#: By environment: where its destinations are listed.
LISTS = {LIVE: "/orgs/{org}/destinations", TEST: "/sandbox/orgs/{org}/destinations"}


def ask_for_key(house: House, stage: Stage, environment: Environment, **body: object) -> TestResponse:
    return house.client.post(keys_of(stage, environment), json={"name": "k"} | body, headers=owner(house, stage))


@pytest.mark.fault
def test_a_live_destination_is_not_there_for_the_sandbox(house: House, stage: Stage, file: Path) -> None:
    name(house, stage, "backend-env", f"env:{file}")
    admin, old = (
        answer(ask_for_key(house, stage, TEST, scopes=["admin"])),
        answer(ask_for_key(house, stage, TEST))["key_id"],
    )
    before = all_rows()["api_keys"]
    there = {"deliver_to": ["backend-env"]}
    refused = [
        ask_for_key(house, stage, TEST, **there),
        house.client.post(keys_of(stage, TEST), json={"name": "k"} | there, headers=api_key(admin["key"])),
        house.client.post(f"{keys_of(stage, TEST)}/{old}/rotate", json=there, headers=owner(house, stage)),
    ]
    unknown = refusal(ask_for_key(house, stage, TEST, deliver_to=["nobodys-env"]), 404, "destination_not_found")
    for response in refused:
        detail = refusal(response, 404, "destination_not_found")["detail"]
        assert detail.replace("backend-env", "nobodys-env") == unknown["detail"], "the words tell nothing"
        assert "test destination" in detail
        assert str(file) not in detail
    assert not file.exists()
    assert all_rows()["api_keys"] == before
    found = house.client.get(LISTS[TEST].format(org=stage.org), headers=owner(house, stage))
    assert answer(found) == {"destinations": [], "next_cursor": None}


@pytest.mark.fault
def test_a_test_key_in_a_place_that_became_a_live_one_is_not_rotated_there(
    house: House, stage: Stage, file: Path
) -> None:
    """As where the place was named before destinations had an environment."""
    key_id = deliver(stage, file, TEST)
    name(house, stage, "backend-env", f"env:{file}#MUSHU_API_KEY")
    before = file.read_bytes()
    response = house.client.post(f"{keys_of(stage, TEST)}/{key_id}/rotate", json={}, headers=owner(house, stage))
    detail = refusal(response, 409, "destination_held")["detail"]
    assert "destination of live keys" in detail
    assert "backend-env" not in detail
    assert file.read_bytes() == before


@pytest.mark.fault
def test_its_line_in_the_ledger_does_not_tell_the_live_name(house: House, stage: Stage, file: Path) -> None:
    key_id = deliver(stage, file, TEST)
    name(house, stage, "backend-env", f"env:{file}#MUSHU_API_KEY")
    found = house.client.get(f"{keys_of(stage, TEST)}/{key_id}/deliveries", headers=owner(house, stage))
    assert "destination" not in answer(found)["deliveries"][0]


@pytest.mark.fault
class TestATestDestination:
    def test_takes_test_keys(self, house: House, stage: Stage, file: Path) -> None:
        name(house, stage, "backend-env", f"env:{file}#MUSHU_API_KEY", TEST)
        answer(ask_for_key(house, stage, TEST, deliver_to=["backend-env"]))
        assert value(file).startswith("msk_test_")

    def test_takes_no_live_key(self, house: House, stage: Stage, file: Path) -> None:
        name(house, stage, "backend-env", f"env:{file}#MUSHU_API_KEY", TEST)
        refusal(ask_for_key(house, stage, LIVE, deliver_to=["backend-env"]), 404, "destination_not_found")
        assert not file.exists()
        found = house.client.get(LISTS[LIVE].format(org=stage.org), headers=owner(house, stage))
        assert answer(found) == {"destinations": [], "next_cursor": None}

    def test_may_have_the_name_of_a_live_one(self, house: House, stage: Stage, tmp_path: Path) -> None:
        for environment in (LIVE, TEST):
            name(house, stage, "backend-env", f"env:{tmp_path}/{environment}#MUSHU_API_KEY", environment)
            answer(ask_for_key(house, stage, environment, deliver_to=["backend-env"]))
        assert [value(tmp_path / one)[:9] for one in (LIVE, TEST)] == ["msk_live_", "msk_test_"]
