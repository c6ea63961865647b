"""Rotation over HTTP where the new key goes somewhere: put there by a client, or by the server."""

from pathlib import Path

from dotenv import dotenv_values

from mushu.keyformat import CREDENTIAL_PATTERN
from tests.server.web.api.rotating import (
    PLACE,
    TEST,
    ask,
    deliver,
    flush,
    keep,
    left_behind,
    name,
    prove,
    rotate,
    shown,
    value,
)
from tests.server.web.api.test_keys import create
from tests.server.web.asking import answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage


class TestByAClient:
    def test_it_works(self, house: House, stage: Stage) -> None:
        old = create(house, stage)
        new = answer(rotate(house, stage, old["key_id"], delivery="client"))
        assert "confirm_by" in new
        refusal(ask(house, stage, new["key"]), 401, "inactive_credential")
        assert shown(house, stage, new["key_id"])["replaces"] == old["key_id"]
        assert "replaced_by" not in shown(house, stage, old["key_id"])
        for wrong in (old["key"], "x"):
            refusal(prove(house, stage, new | {"key": wrong}), 422, "invalid_input")
        assert shown(house, stage, old["key_id"])["state"] == "active"
        done = answer(prove(house, stage, new))
        assert (done["state"], done["delivered_to"], done["replaces"]) == ("active", [PLACE], old["key_id"])
        assert shown(house, stage, old["key_id"])["state"] == "retiring"
        assert [ask(house, stage, key["key"]).status_code for key in (old, new)] == [200, 200]

    def test_what_was_delivered_by_a_client_is_so_again_or_shown_but_must_be_asked_for(
        self, house: House, stage: Stage
    ) -> None:
        old = create(house, stage, delivery="client")
        answer(prove(house, stage, old))
        before = left_behind()
        detail = refusal(rotate(house, stage, old["key_id"]), 422, "invalid_input")["detail"]
        assert "delivery: client" in detail
        assert "delivery: response" in detail
        assert left_behind() == before
        new = answer(rotate(house, stage, old["key_id"], delivery="client"))
        answer(prove(house, stage, new))
        assert "delivered_to" not in shown(house, stage, old["key_id"])
        assert "key" in answer(rotate(house, stage, new["key_id"], delivery="response"))

    def test_what_is_never_proven_leaves_the_old_key_as_it_was(self, house: House, stage: Stage) -> None:
        old = create(house, stage)
        new = answer(rotate(house, stage, old["key_id"], delivery="client"))
        house.clock.turn(hours=1)
        keep()
        keep()
        refusal(prove(house, stage, new), 409, "wrong_state")
        assert shown(house, stage, old["key_id"])["state"] == "active"
        assert ask(house, stage, old["key"]).status_code == 200
        again = answer(rotate(house, stage, old["key_id"], delivery="client"))
        assert answer(prove(house, stage, again))["state"] == "active"


class TestByTheServer:
    def test_it_goes_where_the_old_key_is(self, house: House, stage: Stage, file: Path) -> None:
        old_id = deliver(stage, file)
        old = value(file)
        response = rotate(house, stage, old_id)
        new = answer(response)
        assert list(new) == ["key_id", "name", "scopes", "created_at", "environment", "replaces", "delivered_to"]
        assert new["delivered_to"] == [f"env:{file}#MUSHU_API_KEY"]
        assert CREDENTIAL_PATTERN.search(response.get_data(as_text=True)) is None
        assert value(file) != old
        assert [ask(house, stage, key).status_code for key in (old, value(file))] == [200, 200]

    def test_it_can_be_asked_for_in_the_answer_and_is_taken_away_there_in_the_end(
        self, house: House, stage: Stage, file: Path
    ) -> None:
        old_id = deliver(stage, file)
        old = value(file)
        new = answer(rotate(house, stage, old_id, delivery="response", settle="1s"))
        assert value(file) == old
        ask(house, stage, new["key"])
        flush(house)
        house.clock.turn(seconds=1)
        keep()
        assert "MUSHU_API_KEY" not in dotenv_values(file)

    def test_or_brought_to_destinations_that_have_names(self, house: House, stage: Stage, tmp_path: Path) -> None:
        old = create(house, stage)
        uris = [name(house, stage, place, f"env:{tmp_path}/{place}.env#MUSHU_API_KEY") for place in "ab"]
        response = rotate(house, stage, old["key_id"], deliver_to=["b", "a"])
        new = answer(response)
        assert new["delivered_to"] == uris[::-1]
        assert "key" not in new
        assert CREDENTIAL_PATTERN.search(response.get_data(as_text=True)) is None
        assert value(tmp_path / "a.env") == value(tmp_path / "b.env")
        assert ask(house, stage, value(tmp_path / "a.env")).status_code == 200

    def test_where_it_cannot_be_put_the_old_key_stays(self, house: House, stage: Stage, file: Path) -> None:
        old_id = deliver(stage, file)
        old, content = value(file), file.read_bytes()
        file.chmod(0o666)
        response = rotate(house, stage, old_id)
        assert response.status_code in (409, 422, 502)
        assert file.read_bytes() == content
        file.chmod(0o600)
        file.write_text("MUSHU_API_KEY=theirs\n")
        problem = refusal(rotate(house, stage, old_id), 409, "destination_held")
        assert "the operator of this server can" in problem["detail"]
        assert "--force" not in problem["detail"]
        assert value(file) == "theirs"
        assert shown(house, stage, old_id)["state"] == "active"
        assert ask(house, stage, old).status_code == 200

    def test_a_test_key_stays_one_and_is_rotated_under_sandbox_only(
        self, house: House, stage: Stage, file: Path
    ) -> None:
        old_id = deliver(stage, file, TEST)
        refusal(rotate(house, stage, old_id), 404, "key_not_found")
        refusal(rotate(house, stage, stage.key, TEST), 404, "key_not_found")
        new = answer(rotate(house, stage, old_id, TEST))
        assert (new["environment"], value(file)[:9]) == ("test", "msk_test_")
        assert answer(rotate(house, stage, new["key_id"], TEST, delivery="response"))["key"].startswith("msk_test_")
