"""Keys that are created into named destinations, and the ledger of where they are."""

from pathlib import Path
from typing import Any

import pytest

from mushu.keyformat import CREDENTIAL_PATTERN
from mushu.server.clock import rfc3339
from tests.server.web.api.rotating import TEST, ask, deliver, name, rotate, shown, value
from tests.server.web.api.test_keys import create, keys_of
from tests.server.web.asking import answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage


class TestCreateInto:
    def test_it_works(self, house: House, stage: Stage, file: Path) -> None:
        uri = name(house, stage, "backend-env", f"env:{file}#MUSHU_API_KEY")
        response = house.client.post(
            keys_of(stage),
            json={"name": "backend", "deliver_to": ["backend-env"], "rotate_every": "2160h"},
            headers=stage.headers,
        )
        made = answer(response)
        fields = ["key_id", "name", "scopes", "created_at", "environment", "rotate_every", "rotate_at", "delivered_to"]
        assert list(made) == fields
        assert (made["delivered_to"], made["rotate_every"]) == ([uri], "90d")
        assert CREDENTIAL_PATTERN.search(response.get_data(as_text=True)) is None
        assert shown(house, stage, made["key_id"])["state"] == "active"
        assert ask(house, stage, value(file)).status_code == 200
        assert answer(rotate(house, stage, made["key_id"]))["delivered_to"] == [uri]

    def test_a_destination_that_refuses_leaves_no_key(self, house: House, stage: Stage, file: Path) -> None:
        name(house, stage, "backend-env", f"env:{file}#MUSHU_API_KEY")
        file.write_text("MUSHU_API_KEY=theirs\n")
        file.chmod(0o600)
        body = {"name": "k", "deliver_to": ["backend-env"]}
        response = house.client.post(keys_of(stage), json=body, headers=stage.headers)
        problem = refusal(response, 409, "destination_held")
        assert value(file) == "theirs"
        assert problem["detail"].endswith("No request overwrites it; the operator of this server can.")
        assert "--" not in response.get_data(as_text=True), "over HTTP there are no options"
        assert [fault["field"] for fault in problem["errors"]] == ["deliver_to"]
        assert answer(house.client.get(keys_of(stage), headers=stage.headers))["api_keys"] == []

    def test_a_place_that_holds_a_key_of_others_does_not_tell_its_name(
        self, house: House, stage: Stage, file: Path
    ) -> None:
        deliver(Stage(house.world), file)
        name(house, stage, "backend-env", f"env:{file}#MUSHU_API_KEY")
        body = {"name": "k", "deliver_to": ["backend-env"]}
        response = house.client.post(keys_of(stage), json=body, headers=stage.headers)
        assert "backend" not in refusal(response, 409, "destination_held")["detail"]

    @pytest.mark.parametrize("rotate_every", ["", "59m", "0d", "101y", "99999d", "x", 90, True, ["1d"]])
    def test_an_interval_that_is_none_is_refused(self, house: House, stage: Stage, rotate_every: object) -> None:
        body = {"name": "k", "rotate_every": rotate_every}
        problem = refusal(house.client.post(keys_of(stage), json=body, headers=stage.headers), 422, "invalid_input")
        assert problem["errors"][0]["field"] == "rotate_every"

    def test_both_ways_at_once_are_refused(self, house: House, stage: Stage, file: Path) -> None:
        name(house, stage, "backend-env", f"env:{file}#MUSHU_API_KEY")
        body = {"name": "k", "deliver_to": ["backend-env"], "delivery": "client"}
        refusal(house.client.post(keys_of(stage), json=body, headers=stage.headers), 422, "invalid_input")
        assert not file.exists()


class TestLedger:
    def test_it_tells_where_the_key_is_and_who_put_it_there(self, house: House, stage: Stage, file: Path) -> None:
        uri = name(house, stage, "backend-env", f"env:{file}#MUSHU_API_KEY")
        body = {"name": "k", "deliver_to": ["backend-env"]}
        old = answer(house.client.post(keys_of(stage), json=body, headers=stage.headers))["key_id"]
        (line,) = self.lines(house, stage, old)
        assert (line["uri"], line["destination"], line["state"], line["by"]) == (
            uri,
            "backend-env",
            "verified",
            "server",
        )
        assert line["delivered_by"] == f"user {stage.owner.id}"
        assert {"version", "started_at", "delivered_at", "verified_at"} <= set(line)
        new = answer(rotate(house, stage, old))["key_id"]
        assert [line["state"] for key in (old, new) for line in self.lines(house, stage, key)] == [
            "replaced",
            "verified",
        ]
        assert self.lines(house, stage, stage.key) == [], "a key that was shown lies nowhere"

    def test_it_is_kept_after_the_key_is_deleted(self, house: House, stage: Stage, file: Path) -> None:
        old = deliver(stage, file)
        answer(house.client.delete(f"{keys_of(stage)}/{old}", headers=stage.headers))
        (line,) = self.lines(house, stage, old)
        assert (line["state"], line["removed_at"]) == ("removed", rfc3339(house.clock()))

    def test_of_another_organization_or_environment_it_is_not_found(self, house: House, stage: Stage) -> None:
        foreign = Stage(house.world).key
        of_test = create(house, stage, TEST)["key_id"]
        for key_id in (foreign, of_test, "key_aaaaaaaaaaaa"):
            response = house.client.get(f"{keys_of(stage)}/{key_id}/deliveries", headers=stage.headers)
            refusal(response, 404, "key_not_found")

    def lines(self, house: House, stage: Stage, key_id: str) -> list[dict[str, Any]]:
        response = house.client.get(f"{keys_of(stage)}/{key_id}/deliveries", headers=stage.headers)
        found: list[dict[str, Any]] = answer(response)["deliveries"]
        return found
