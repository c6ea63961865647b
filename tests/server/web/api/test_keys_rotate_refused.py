"""Rotation over HTTP: what is refused leaves everything as it was."""

from pathlib import Path
from typing import Any

import pytest

from mushu.server.keys.states import State
from tests.server.web.api.rotating import deliver, left_behind, name, prove, rotate, shown
from tests.server.web.api.test_keys import create, keys_of, put_into, row_of
from tests.server.web.asking import answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

pytestmark = pytest.mark.unmeasured

#: The ways in which the new key can be asked for.
BODIES: list[dict[str, Any]] = [{}, {"delivery": "client"}, {"delivery": "response"}]
_WRONG: list[Any] = [
    *({"settle": value} for value in ("soon", "", "0s", "1h1m", "٣h", 3600, None, ["1h"], "367d", "9" * 900 + "d")),
    *({"deadline": value} for value in ("0d", "367d", "\x00")),
    *({"at_deadline": value} for value in ("explode", None)),
    *({"now": value} for value in ("yes", 1, None)),
    *({"delivery": value} for value in ("server", "", True, ["client"])),
    *({"deliver_to": value} for value in ([], "a", [None], ["a", "a"], {"a": 1}, ["x" * 1_001])),
    {"deliver_to": [f"d{number}" for number in range(21)]},
    *({"deliver_to": ["a"], "delivery": value} for value in ("client", "response")),
    *({field: "x"} for field in ("force", "key", "name", "scopes", "environment", "org_id", "expires_at")),
]


@pytest.mark.parametrize("body", _WRONG, ids=lambda body: str(body)[:40])
def test_a_wrong_body_changes_nothing(house: House, stage: Stage, body: dict[str, object]) -> None:
    key_id = stage.key
    before = left_behind()
    problem = refusal(rotate(house, stage, key_id, **body), 422, "invalid_input")
    assert len(problem["detail"]) < 2_000
    assert left_behind() == before


@pytest.mark.parametrize(
    "field", ["deliver_to", "to", "uri", "destination", "place", "delivery", "settle", "at_deadline"]
)
def test_a_uri_is_refused_and_no_file_is_touched(house: House, stage: Stage, file: Path, field: str) -> None:
    """A caller could have any file of the server written (design, section 7)."""
    for uri in (f"env:{file}", f"env:{file}#MUSHU_API_KEY", str(file), f"file://{file}", f"ENV:{file}"):
        for given in (uri, [uri]):
            response = rotate(house, stage, stage.key, **{field: given})
            assert response.status_code in (404, 422)
            assert not file.exists()
    assert shown(house, stage, stage.key)["state"] == "active"


def test_a_name_of_nothing_of_another_organization_or_the_uri_behind_one_is_not_found(
    house: House, stage: Stage, file: Path
) -> None:
    name(house, Stage(house.world), "theirs", f"env:{file}#MUSHU_API_KEY")
    uri = name(house, stage, "backend", f"env:{file}.ours#MUSHU_API_KEY")
    key_id = stage.key
    before = left_behind()
    for place in ("nowhere", "theirs", uri):
        refusal(rotate(house, stage, key_id, deliver_to=[place]), 404, "destination_not_found")
        body = {"name": "k", "deliver_to": [place]}
        refusal(house.client.post(keys_of(stage), json=body, headers=stage.headers), 404, "destination_not_found")
    assert left_behind() == before
    assert not file.exists()


@pytest.mark.parametrize("asked", ["foreign", "deleted", "unknown"])
def test_a_key_that_is_not_there_for_the_caller(house: House, stage: Stage, asked: str) -> None:
    key_id = {"foreign": Stage(house.world).key, "deleted": stage.key, "unknown": "key_aaaaaaaaaaaa"}[asked]
    if asked == "deleted":
        put_into(house.world, key_id, State.REVOKED)
    before = row_of(key_id)
    for body in BODIES:
        detail = refusal(rotate(house, stage, key_id, **body), 404, "key_not_found")["detail"]
        assert detail == f"There is no live API key {key_id!r} in {stage.org}."
    assert row_of(key_id) == before


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_a_key_in_another_state(house: House, stage: Stage, body: dict[str, object]) -> None:
    put_into(house.world, stage.key, State.DISABLED)
    before = left_behind()
    detail = refusal(rotate(house, stage, stage.key, **body), 409, "wrong_state")["detail"]
    assert f"{stage.key} is disabled," in detail
    assert left_behind() == before


@pytest.mark.parametrize("by", ["response", "client", "server"])
def test_a_key_that_is_rotated_already_says_which_takes_over(house: House, stage: Stage, file: Path, by: str) -> None:
    name(house, stage, "other", f"env:{file}.other#MUSHU_API_KEY")
    if by == "server":
        old_id = deliver(stage, file)
        new_id = answer(rotate(house, stage, old_id))["key_id"]
    else:
        old_id = create(house, stage)["key_id"]
        new = answer(rotate(house, stage, old_id, delivery=by))
        new_id = new["key_id"]
        if by == "client":
            answer(prove(house, stage, new))
    before = left_behind()
    for body in (*BODIES, {"deliver_to": ["other"]}):
        detail = refusal(rotate(house, stage, old_id, **body), 409, "wrong_state")["detail"]
        assert f"{old_id} is being rotated already: {new_id} takes over." in detail
    assert left_behind() == before
