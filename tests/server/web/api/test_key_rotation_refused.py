"""Rotation over HTTP: what is refused leaves everything as it was."""

from pathlib import Path
from typing import Any

import pytest

from mushu.server.keys.scopes import Scope
from mushu.server.keys.states import State
from mushu.server.orgs.roles import Role
from tests.server.conftest import api_key, bearer
from tests.server.web.api.rotating import (
    deliver,
    left_behind,
    name,
    prove,
    rotate,
    shown,
)
from tests.server.web.api.test_keys import create, keys_of, put_into, row_of
from tests.server.web.asking import answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


_WRONG: list[dict[str, object]] = [
    {"settle": "soon"},
    {"settle": ""},
    {"settle": "0s"},
    {"settle": "-1h"},
    {"settle": "1.5h"},
    {"settle": "1h1m"},
    {"settle": "٣h"},
    {"settle": 3600},
    {"settle": None},
    {"settle": ["1h"]},
    {"settle": "367d"},
    {"settle": "99999999999h"},
    {"settle": "9" * 900 + "d"},
    {"settle": "1h" + " " * 2_000},
    {"deadline": "0d"},
    {"deadline": "367d"},
    {"deadline": "\x00"},
    {"at_deadline": "explode"},
    {"at_deadline": None},
    {"now": "yes"},
    {"now": 1},
    {"now": None},
    {"delivery": "server"},
    {"delivery": ""},
    {"delivery": True},
    {"delivery": ["client"]},
    {"deliver_to": []},
    {"deliver_to": "a"},
    {"deliver_to": [None]},
    {"deliver_to": [1]},
    {"deliver_to": ["a", "a"]},
    {"deliver_to": {"a": 1}},
    {"deliver_to": [f"d{number}" for number in range(21)]},
    {"deliver_to": ["x" * 1_001]},
    {"deliver_to": ["a"], "delivery": "client"},
    {"deliver_to": ["a"], "delivery": "response"},
    {"force": True},
    {"key": "msk_live_x"},
    {"name": "other"},
    {"scopes": ["admin"]},
    {"environment": "test"},
    {"org_id": "org_aaaaaaaaaaaa"},
    {"expires_at": "2100-01-01T00:00:00Z"},
    {"rotate_every": "1h"},
    {f"field{number}": 1 for number in range(101)},
]


class TestWhatIsRefused:
    @pytest.mark.parametrize("body", _WRONG, ids=lambda body: str(body)[:40])
    def test_a_wrong_body_changes_nothing(self, house: House, stage: Stage, body: dict[str, object]) -> None:
        key_id = stage.key
        before = left_behind()
        problem = refusal(rotate(house, stage, key_id, **body), 422, "invalid_input")
        assert len(problem["detail"]) < 2_000
        assert left_behind() == before

    @pytest.mark.parametrize("data", [b"", b"null", b"[]", b'"{}"', b"{", b"\xff", b"[" * 100_000, b"{}{}", b"NaN"])
    def test_what_is_no_object_is_refused(self, house: House, stage: Stage, data: bytes) -> None:
        path = f"{keys_of(stage)}/{stage.key}/rotate"
        response = house.client.post(path, data=data, content_type="application/json", headers=stage.headers)
        assert response.status_code in (400, 422)
        assert shown(house, stage, stage.key)["state"] == "active"

    def test_a_body_that_is_too_large_is_refused(self, house: House, stage: Stage) -> None:
        response = rotate(house, stage, stage.key, deliver_to=["x" * 1_048_576])
        refusal(response, 413, "request_entity_too_large")

    @pytest.mark.parametrize("field", ["settle", "deadline"])
    def test_the_field_at_fault_is_named(self, house: House, stage: Stage, field: str) -> None:
        problem = refusal(rotate(house, stage, stage.key, **{field: "x"}), 422, "invalid_input")
        assert problem["errors"][0]["field"] == field

    def test_a_name_that_stands_for_nothing(self, house: House, stage: Stage) -> None:
        key_id = stage.key
        before = left_behind()
        refusal(rotate(house, stage, key_id, deliver_to=["nowhere"]), 404, "destination_not_found")
        assert left_behind() == before

    def test_a_name_of_another_organization(self, house: House, stage: Stage, file: Path) -> None:
        name(house, Stage(house.world), "theirs", f"env:{file}#MUSHU_API_KEY")
        refusal(rotate(house, stage, stage.key, deliver_to=["theirs"]), 404, "destination_not_found")
        response = house.client.post(
            keys_of(stage), json={"name": "k", "deliver_to": ["theirs"]}, headers=stage.headers
        )
        refusal(response, 404, "destination_not_found")
        assert not file.exists()

    @pytest.mark.parametrize(
        "field", ["deliver_to", "to", "uri", "destination", "place", "delivery", "settle", "at_deadline"]
    )
    def test_a_uri_is_refused_and_no_file_is_touched(self, house: House, stage: Stage, file: Path, field: str) -> None:
        """A caller could have any file of the server written (design, section 7)."""
        for uri in (f"env:{file}", f"env:{file}#MUSHU_API_KEY", str(file), f"file://{file}", f"ENV:{file}"):
            for given in (uri, [uri]):
                response = rotate(house, stage, stage.key, **{field: given})
                assert response.status_code in (404, 422)
                assert not file.exists()
        assert shown(house, stage, stage.key)["state"] == "active"

    def test_the_uri_of_a_named_destination_is_no_name(self, house: House, stage: Stage, file: Path) -> None:
        uri = name(house, stage, "backend", f"env:{file}#MUSHU_API_KEY")
        refusal(rotate(house, stage, stage.key, deliver_to=[uri]), 404, "destination_not_found")
        assert not file.exists()

    @pytest.mark.parametrize("asked", ["foreign", "deleted", "unknown"])
    def test_a_key_that_is_not_there_for_the_caller(self, house: House, stage: Stage, asked: str) -> None:
        key_id = {"foreign": Stage(house.world).key, "deleted": stage.key, "unknown": "key_aaaaaaaaaaaa"}[asked]
        if asked == "deleted":
            put_into(house.world, key_id, State.REVOKED)
        before = row_of(key_id)
        for body in ({}, {"delivery": "client"}, {"delivery": "response"}):
            detail = refusal(rotate(house, stage, key_id, **body), 404, "key_not_found")["detail"]
            assert detail == f"There is no live API key {key_id!r} in {stage.org}."
        assert row_of(key_id) == before

    def test_a_foreign_organization_is_not_found(self, house: House, stage: Stage) -> None:
        other = Stage(house.world)
        path = f"{keys_of(other)}/{other.key}/rotate"
        for headers in (stage.headers, api_key(house.world.key(stage.organization, *Scope)[1])):
            refusal(house.client.post(path, json={}, headers=headers), 404, "org_not_found")
        assert shown(house, other, other.key)["state"] == "active"

    def test_a_member_and_a_key_without_admin_may_not(self, house: House, stage: Stage) -> None:
        member = bearer(house.world.token(house.world.member(stage.organization, Role.MEMBER)))
        weak = api_key(house.world.key(stage.organization, Scope.READ, Scope.WRITE)[1])
        for headers in (member, weak):
            for method, rest in (("POST", "rotate"), ("GET", "deliveries")):
                path = f"{keys_of(stage)}/{stage.key}/{rest}"
                response = house.client.open(
                    path, method=method, json={} if method == "POST" else None, headers=headers
                )
                refusal(response, 403, "missing_scope")
        assert shown(house, stage, stage.key)["state"] == "active"

    @pytest.mark.parametrize("state", [State.PENDING, State.DISABLED, State.FAILED])
    @pytest.mark.parametrize("body", [{}, {"delivery": "client"}, {"delivery": "response"}], ids=str)
    def test_a_key_in_another_state(self, house: House, stage: Stage, state: State, body: dict[str, object]) -> None:
        put_into(house.world, stage.key, state)
        before = left_behind()
        detail = refusal(rotate(house, stage, stage.key, **body), 409, "wrong_state")["detail"]
        assert f"{stage.key} is {state}," in detail
        assert left_behind() == before

    def test_an_expired_key(self, house: House, stage: Stage) -> None:
        key, _ = house.world.key(stage.organization, lives_seconds=60)
        house.clock.turn(seconds=60)
        assert "expired" in refusal(rotate(house, stage, key.id), 409, "wrong_state")["detail"]

    @pytest.mark.parametrize("by", ["response", "client", "server"])
    @pytest.mark.parametrize("then", [None, "response", "client", "names"])
    def test_a_key_that_is_rotated_already_says_which_takes_over(
        self, house: House, stage: Stage, file: Path, by: str, then: str | None
    ) -> None:
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
        body: dict[str, Any] = {"deliver_to": ["other"]} if then == "names" else {"delivery": then}
        before = left_behind()
        detail = refusal(rotate(house, stage, old_id, **body), 409, "wrong_state")["detail"]
        assert f"{old_id} is being rotated already: {new_id} takes over." in detail
        assert left_behind() == before
