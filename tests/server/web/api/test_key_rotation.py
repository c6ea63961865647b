"""Rotation over HTTP: in every way, by nobody else, and without a key or a file in the wrong hands."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values
from sqlalchemy import select
from werkzeug.test import TestResponse

from mushu.destination import digest_of
from mushu.keyformat import CREDENTIAL_PATTERN
from mushu.server.audit.models import AuditEvent
from mushu.server.audit.service import SYSTEM
from mushu.server.clock import rfc3339
from mushu.server.core import courier_for, db
from mushu.server.db import reading, writing
from mushu.server.delivery.rotation import keep_house
from mushu.server.destinations import service as destinations
from mushu.server.destinations.service import Place
from mushu.server.keys.scopes import Environment, Scope
from mushu.server.keys.service import KeyRequest, get_key
from mushu.server.keys.states import State
from mushu.server.orgs.roles import Role
from mushu.server.web.usage import recorder_of
from tests.server.conftest import api_key, bearer
from tests.server.web.api.test_keys import create, keys_of, put_into, row_of
from tests.server.web.asking import all_rows, answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

PLACE = "env:/home/ada/app/.env#MUSHU_API_KEY"
TEST = Environment.TEST
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


def rotate(house: House, stage: Stage, key_id: str, environment: Environment = Environment.LIVE, **body: object) -> Any:
    path = f"{keys_of(stage, environment)}/{key_id}/rotate"
    return house.client.post(path, json=body, headers=stage.headers)


def shown(house: House, stage: Stage, key_id: str, environment: Environment = Environment.LIVE) -> dict[str, Any]:
    return answer(house.client.get(f"{keys_of(stage, environment)}/{key_id}", headers=stage.headers))


def ask(house: House, stage: Stage, key: str) -> TestResponse:
    return house.client.get(f"/orgs/{stage.org}", headers=api_key(key))


def flush(house: House) -> None:
    recorder_of(house.app).flush()


def keep(house: House) -> None:
    keep_house(courier_for(SYSTEM))


def name(house: House, stage: Stage, name: str, uri: str) -> str:
    """Give a place a name in the organization, as an operator would."""
    place = Place(stage.org, name, uri)
    with writing(db.session):
        return destinations.add(db.session, house.clock, SYSTEM, house.world.core.sealing_keys, place).uri


def deliver(house: House, stage: Stage, path: Path, environment: Environment = Environment.LIVE) -> str:
    """Return the id of a key that the server delivered into a file."""
    request = KeyRequest(org_id=stage.org, name="backend", environment=environment)
    return courier_for(SYSTEM).deliver(request, [f"env:{path}"])[0].id


def value(path: Path) -> str:
    return dotenv_values(path)["MUSHU_API_KEY"] or ""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


class TestShown:
    def test_it_works(self, house: House, stage: Stage) -> None:
        old = create(house, stage, name="backend", scopes=["read", "admin"])
        house.clock.turn(days=1)
        new = answer(rotate(house, stage, old["key_id"]))
        assert list(new) == ["key_id", "key", "name", "scopes", "created_at", "environment", "replaces"]
        assert new["key_id"] != old["key_id"]
        assert (new["name"], new["scopes"], new["replaces"]) == ("backend", ["read", "admin"], old["key_id"])
        assert new["created_at"] == rfc3339(house.clock())
        assert [ask(house, stage, key["key"]).status_code for key in (old, new)] == [200, 200]

    def test_both_say_what_became_of_them(self, house: House, stage: Stage) -> None:
        old = create(house, stage)
        new = answer(rotate(house, stage, old["key_id"]))
        before, after = shown(house, stage, old["key_id"]), shown(house, stage, new["key_id"])
        assert (before["state"], before["replaced_by"]) == ("retiring", new["key_id"])
        assert (after["state"], after["replaces"]) == ("active", old["key_id"])
        assert "retires_at" not in before
        listed = answer(house.client.get(keys_of(stage), headers=stage.headers))["api_keys"]
        assert {key["key_id"]: key for key in listed} == {old["key_id"]: before, new["key_id"]: after}

    def test_the_old_key_ends_when_it_settled_and_says_why(self, house: House, stage: Stage) -> None:
        old = create(house, stage)
        new = answer(rotate(house, stage, old["key_id"], settle="10m"))
        house.clock.turn(days=30)
        assert ask(house, stage, old["key"]).status_code == 200
        assert ask(house, stage, new["key"]).status_code == 200
        flush(house)
        house.clock.turn(minutes=10, microseconds=-1)
        assert shown(house, stage, old["key_id"])["retires_at"] is not None
        assert ask(house, stage, old["key"]).status_code == 200
        house.clock.turn(microseconds=1)
        sentences = []
        for act in (flush, keep, keep):  # nobody has to write it down for it to be so
            sentences.append(refusal(ask(house, stage, old["key"]), 401, "deleted_credential")["detail"])
            act(house)
        assert len(set(sentences)) == 1
        assert "rotated" in sentences[0]
        assert "Load the new one" in sentences[0]
        assert ask(house, stage, new["key"]).status_code == 200

    def test_now_ends_it_in_the_same_moment(self, house: House, stage: Stage) -> None:
        old = create(house, stage)
        new = answer(rotate(house, stage, old["key_id"], now=True))
        assert "rotated" in refusal(ask(house, stage, old["key"]), 401, "deleted_credential")["detail"]
        assert ask(house, stage, new["key"]).status_code == 200

    def test_revoke_ends_it_at_the_deadline(self, house: House, stage: Stage) -> None:
        old = create(house, stage)
        answer(rotate(house, stage, old["key_id"], deadline="2h", at_deadline="revoke"))
        house.clock.turn(hours=2, microseconds=-1)
        assert ask(house, stage, old["key"]).status_code == 200
        house.clock.turn(microseconds=1)
        refusal(ask(house, stage, old["key"]), 401, "deleted_credential")

    def test_uses_of_the_old_key_end_nothing(self, house: House, stage: Stage) -> None:
        old = create(house, stage)
        answer(rotate(house, stage, old["key_id"], settle="1s"))
        for _ in range(3):
            ask(house, stage, old["key"])
            flush(house)
            house.clock.turn(days=1)
        assert ask(house, stage, old["key"]).status_code == 200

    def test_a_refused_request_with_the_new_key_is_a_use_all_the_same(self, house: House, stage: Stage) -> None:
        old = create(house, stage, scopes=["read"])
        new = answer(rotate(house, stage, old["key_id"]))
        refusal(house.client.get(keys_of(stage), headers=api_key(new["key"])), 403, "missing_scope")
        flush(house)
        assert shown(house, stage, old["key_id"])["retires_at"] == rfc3339(house.clock() + _HOUR)

    def test_a_key_can_rotate_itself(self, house: House, stage: Stage) -> None:
        old = create(house, stage, scopes=["read", "admin"])
        path = f"{keys_of(stage)}/{old['key_id']}/rotate"
        new = answer(house.client.post(path, json={}, headers=api_key(old["key"])))
        assert [ask(house, stage, key["key"]).status_code for key in (old, new)] == [200, 200]

    def test_the_successor_can_be_rotated_again_while_the_old_one_retires(self, house: House, stage: Stage) -> None:
        keys = [create(house, stage)]
        for _ in range(3):
            keys.append(answer(rotate(house, stage, keys[-1]["key_id"], settle="1h")))
        assert [ask(house, stage, key["key"]).status_code for key in keys] == [200] * 4
        flush(house)
        house.clock.turn(hours=1)
        assert [ask(house, stage, key["key"]).status_code for key in keys] == [401] * 3 + [200]

    def test_the_interval_and_the_length_of_life_begin_anew(self, house: House, stage: Stage) -> None:
        ends = rfc3339(house.clock() + 30 * _DAY)
        old = create(house, stage, rotate_every="7d", expires_at=ends)
        assert (old["rotate_every"], old["rotate_at"]) == ("7d", rfc3339(house.clock() + 7 * _DAY))
        house.clock.turn(days=8)
        new = answer(rotate(house, stage, old["key_id"]))
        assert (new["rotate_every"], new["rotate_at"]) == ("7d", rfc3339(house.clock() + 7 * _DAY))
        assert new["expires_at"] == rfc3339(house.clock() + 30 * _DAY)
        assert "rotate_at" not in shown(house, stage, old["key_id"])

    def test_a_test_key_is_rotated_into_a_test_key_and_under_sandbox_only(self, house: House, stage: Stage) -> None:
        old = create(house, stage, TEST)
        refusal(rotate(house, stage, old["key_id"]), 404, "key_not_found")
        new = answer(rotate(house, stage, old["key_id"], TEST))
        assert (new["environment"], new["key"][:9]) == ("test", "msk_test_")
        live = create(house, stage)
        refusal(rotate(house, stage, live["key_id"], TEST), 404, "key_not_found")

    def test_the_trail_tells_it(self, house: House, stage: Stage) -> None:
        old = create(house, stage)
        new = answer(rotate(house, stage, old["key_id"]))
        with reading(db.session):
            query = select(AuditEvent).where(AuditEvent.target_id == old["key_id"]).order_by(AuditEvent.id)
            events = db.session.scalars(query).all()
        assert [event.action for event in events][-2:] == ["key.rotation_begun", "key.retiring"]
        assert events[-2].details == {"successor": new["key_id"]}
        assert {event.actor_id for event in events[-2:]} == {stage.owner.id}


class TestByAClient:
    def test_it_works(self, house: House, stage: Stage) -> None:
        old = create(house, stage)
        new = answer(rotate(house, stage, old["key_id"], delivery="client"))
        assert "confirm_by" in new
        refusal(ask(house, stage, new["key"]), 401, "inactive_credential")
        assert shown(house, stage, old["key_id"])["state"] == "active"
        assert shown(house, stage, new["key_id"])["replaces"] == old["key_id"]
        assert "replaced_by" not in shown(house, stage, old["key_id"])
        done = answer(self.prove(house, stage, new))
        assert (done["state"], done["delivered_to"], done["replaces"]) == ("active", [PLACE], old["key_id"])
        assert shown(house, stage, old["key_id"])["state"] == "retiring"
        assert [ask(house, stage, key["key"]).status_code for key in (old, new)] == [200, 200]

    def test_what_was_delivered_by_a_client_is_so_again_or_shown_but_must_be_asked_for(
        self, house: House, stage: Stage
    ) -> None:
        old = create(house, stage, delivery="client")
        answer(self.prove(house, stage, old))
        before = all_rows()
        detail = refusal(rotate(house, stage, old["key_id"]), 422, "invalid_input")["detail"]
        assert "delivery: client" in detail
        assert "delivery: response" in detail
        assert all_rows() == before
        new = answer(rotate(house, stage, old["key_id"], delivery="client"))
        answer(self.prove(house, stage, new))
        assert "delivered_to" not in shown(house, stage, old["key_id"])
        assert "key" in answer(rotate(house, stage, new["key_id"], delivery="response"))

    def test_what_is_never_proven_leaves_the_old_key_as_it_was(self, house: House, stage: Stage) -> None:
        old = create(house, stage)
        new = answer(rotate(house, stage, old["key_id"], delivery="client"))
        house.clock.turn(hours=1)
        keep(house)
        keep(house)
        refusal(self.prove(house, stage, new), 404, "key_not_found")
        assert shown(house, stage, old["key_id"])["state"] == "active"
        assert ask(house, stage, old["key"]).status_code == 200
        again = answer(rotate(house, stage, old["key_id"], delivery="client"))
        assert answer(self.prove(house, stage, again))["state"] == "active"

    def test_of_two_at_once_the_first_to_prove_takes_over(self, house: House, stage: Stage) -> None:
        old = create(house, stage)
        first, second = (answer(rotate(house, stage, old["key_id"], delivery="client")) for _ in range(2))
        answer(self.prove(house, stage, second))
        refusal(self.prove(house, stage, first), 409, "wrong_state")
        refusal(ask(house, stage, first["key"]), 401, "inactive_credential")
        assert shown(house, stage, old["key_id"])["replaced_by"] == second["key_id"]
        assert ask(house, stage, old["key"]).status_code == 200

    @pytest.mark.parametrize("act", ["disable", "delete"])
    def test_what_happens_to_the_old_key_meanwhile_is_not_undone(self, house: House, stage: Stage, act: str) -> None:
        old = create(house, stage)
        new = answer(rotate(house, stage, old["key_id"], delivery="client"))
        path = f"{keys_of(stage)}/{old['key_id']}"
        if act == "disable":
            answer(house.client.post(f"{path}/disable", headers=stage.headers))
            refusal(self.prove(house, stage, new), 409, "wrong_state")
            assert ask(house, stage, new["key"]).status_code == 401
        else:
            answer(house.client.delete(path, headers=stage.headers))
            assert answer(self.prove(house, stage, new))["state"] == "active"
        assert ask(house, stage, old["key"]).status_code == 401

    def test_a_wrong_digest_hands_nothing_over(self, house: House, stage: Stage) -> None:
        old = create(house, stage)
        new = answer(rotate(house, stage, old["key_id"], delivery="client"))
        for key in (old["key"], "x"):
            refusal(self.prove(house, stage, new | {"key": key}), 422, "invalid_input")
        assert shown(house, stage, old["key_id"])["state"] == "active"

    def prove(self, house: House, stage: Stage, new: dict[str, Any]) -> TestResponse:
        body = {"deliveries": [{"place": PLACE, "digest": digest_of(new["key"])}]}
        path = f"{keys_of(stage)}/{new['key_id']}/delivered"
        return house.client.post(path, json=body, headers=stage.headers)


class TestByTheServer:
    def test_it_goes_where_the_old_key_is(self, house: House, stage: Stage, file: Path) -> None:
        old_id = deliver(house, stage, file)
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
        old_id = deliver(house, stage, file)
        old = value(file)
        new = answer(rotate(house, stage, old_id, delivery="response", settle="1s"))
        assert value(file) == old
        ask(house, stage, new["key"])
        flush(house)
        house.clock.turn(seconds=1)
        keep(house)
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

    def test_a_foreign_value_is_left_alone(self, house: House, stage: Stage, file: Path) -> None:
        old_id = deliver(house, stage, file)
        old = value(file)
        file.write_text("MUSHU_API_KEY=theirs\n")
        refusal(rotate(house, stage, old_id), 409, "destination_held")
        assert value(file) == "theirs"
        assert ask(house, stage, old).status_code == 200

    def test_where_it_cannot_be_written_the_old_key_stays(self, house: House, stage: Stage, file: Path) -> None:
        old_id = deliver(house, stage, file)
        old, content = value(file), file.read_bytes()
        file.chmod(0o666)
        response = rotate(house, stage, old_id)
        assert response.status_code in (409, 422, 502)
        assert file.read_bytes() == content
        assert shown(house, stage, old_id)["state"] == "active"
        assert ask(house, stage, old).status_code == 200

    def test_a_test_key_stays_one(self, house: House, stage: Stage, file: Path) -> None:
        old_id = deliver(house, stage, file, TEST)
        refusal(rotate(house, stage, old_id), 404, "key_not_found")
        assert answer(rotate(house, stage, old_id, TEST))["environment"] == "test"
        assert value(file).startswith("msk_test_")


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
        before = self.state_of(stage)
        problem = refusal(rotate(house, stage, key_id, **body), 422, "invalid_input")
        assert len(problem["detail"]) < 2_000
        assert self.state_of(stage) == before

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
        before = self.state_of(stage)
        refusal(rotate(house, stage, stage.key, deliver_to=["nowhere"]), 404, "destination_not_found")
        assert self.state_of(stage) == before

    def test_a_name_of_another_organization(self, house: House, stage: Stage, file: Path) -> None:
        name(house, Stage(house.world), "theirs", f"env:{file}#MUSHU_API_KEY")
        refusal(rotate(house, stage, stage.key, deliver_to=["theirs"]), 404, "destination_not_found")
        response = house.client.post(keys_of(stage), json={"name": "k", "deliver_to": ["theirs"]}, headers=stage.headers)
        refusal(response, 404, "destination_not_found")
        assert not file.exists()

    @pytest.mark.parametrize(
        "field", ["deliver_to", "to", "uri", "destination", "place", "delivery", "settle", "at_deadline"]
    )
    def test_a_uri_is_refused_and_no_file_is_touched(
        self, house: House, stage: Stage, file: Path, field: str
    ) -> None:
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
                response = house.client.open(path, method=method, json={} if method == "POST" else None, headers=headers)
                refusal(response, 403, "missing_scope")
        assert shown(house, stage, stage.key)["state"] == "active"

    @pytest.mark.parametrize("state", [State.PENDING, State.DISABLED, State.FAILED])
    @pytest.mark.parametrize("body", [{}, {"delivery": "client"}, {"delivery": "response"}], ids=str)
    def test_a_key_in_another_state(
        self, house: House, stage: Stage, state: State, body: dict[str, object]
    ) -> None:
        put_into(house.world, stage.key, state)
        before = self.state_of(stage)
        detail = refusal(rotate(house, stage, stage.key, **body), 409, "wrong_state")["detail"]
        assert f"{stage.key} is {state}," in detail
        assert self.state_of(stage) == before

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
            old_id = deliver(house, stage, file)
            new_id = answer(rotate(house, stage, old_id))["key_id"]
        else:
            old_id = create(house, stage)["key_id"]
            new = answer(rotate(house, stage, old_id, delivery=by))
            new_id = new["key_id"]
            if by == "client":
                answer(TestByAClient().prove(house, stage, new))
        body: dict[str, Any] = {"deliver_to": ["other"]} if then == "names" else {"delivery": then}
        before = self.state_of(stage)
        detail = refusal(rotate(house, stage, old_id, **body), 409, "wrong_state")["detail"]
        assert f"{old_id} is being rotated already: {new_id} takes over." in detail
        assert self.state_of(stage) == before

    def state_of(self, stage: Stage) -> list[str]:
        """Return the rows of everything that a rotation could leave behind in the organization."""
        assert stage.headers
        rows = all_rows()
        tables = ("api_keys", "rotations", "deliveries", "audit_events")
        return [row for table in tables for row in rows[table]]


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
        refusal(response, 409, "destination_held")
        assert value(file) == "theirs"
        assert answer(house.client.get(keys_of(stage), headers=stage.headers))["api_keys"] == []

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
        assert (line["uri"], line["destination"], line["state"], line["by"]) == (uri, "backend-env", "verified", "server")
        assert line["delivered_by"] == f"user {stage.owner.id}"
        assert {"version", "started_at", "delivered_at", "verified_at"} <= set(line)
        new = answer(rotate(house, stage, old))["key_id"]
        assert [line["state"] for key in (old, new) for line in self.lines(house, stage, key)] == [
            "replaced",
            "verified",
        ]

    def test_it_is_kept_after_the_key_is_deleted(self, house: House, stage: Stage, file: Path) -> None:
        old = deliver(house, stage, file)
        answer(house.client.delete(f"{keys_of(stage)}/{old}", headers=stage.headers))
        (line,) = self.lines(house, stage, old)
        assert (line["state"], line["removed_at"]) == ("removed", rfc3339(house.clock()))

    def test_a_key_that_was_shown_has_an_empty_one(self, house: House, stage: Stage) -> None:
        assert self.lines(house, stage, stage.key) == []

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


def test_the_new_key_is_in_no_row_and_no_log(
    house: House, stage: Stage, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old_id = deliver(house, stage, file)
    answer(rotate(house, stage, old_id))
    new = answer(rotate(house, stage, create(house, stage)["key_id"]))["key"]
    for secret in (value(file), new):
        assert secret[9:31] not in str(all_rows())
        assert secret[9:31] not in caplog.text


def test_the_key_that_lies_there_by_now_has_the_digest_that_is_known(house: House, stage: Stage, file: Path) -> None:
    new = answer(rotate(house, stage, deliver(house, stage, file)))
    with reading(db.session):
        assert get_key(db.session, new["key_id"]).digest == digest_of(value(file))
