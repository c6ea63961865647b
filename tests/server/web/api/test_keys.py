"""Keys over HTTP: created once, shown never again, renamed, disabled, enabled, deleted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from mushu.environment import Environment
from mushu.keyformat import Prefix, parse
from mushu.server.audit import SYSTEM, AuditEvent
from mushu.server.clock import rfc3339
from mushu.server.config import Settings
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.delivery.models import Delivery, DeliveryState
from mushu.server.keys import Scope
from mushu.server.keys.minting import mint_key
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import change_state
from mushu.server.keys.states import State, Transition
from tests.server.conftest import World, api_key, bearer
from tests.server.web.asking import SeparateClient, all_rows, answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

pytestmark = pytest.mark.unmeasured

KEYS = {Environment.LIVE: "/orgs/{org}/api-keys", Environment.TEST: "/sandbox/orgs/{org}/api-keys"}


def keys_of(stage: Stage, environment: Environment = Environment.LIVE) -> str:
    return KEYS[environment].format(org=stage.org)


def create(house: House, stage: Stage, environment: Environment = Environment.LIVE, **body: object) -> dict[str, Any]:
    return answer(house.client.post(keys_of(stage, environment), json={"name": "k"} | body, headers=stage.headers))


def refused(house: House, stage: Stage, **body: object) -> dict[str, Any]:
    """Return the refusal of a creation, and make sure that nothing was created."""
    response = house.client.post(keys_of(stage), json=body, headers=stage.headers)
    assert answer(house.client.get(keys_of(stage), headers=stage.headers))["api_keys"] == []
    return refusal(response, 422, "invalid_input")


def put_into(clock_of: World, key_id: str, state: State) -> None:
    """Bring the key into a state that has no endpoint."""
    with writing(db.session):
        change_state(db.session, clock_of.clock, SYSTEM, key_id, Transition("key.forced", frozenset(State), state))


#: Not within the calendar, once they are in UTC.
_EDGES = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-23:59")
_NO_TIMES: list[object] = ["2100-01-01", "2100-02-30T00:00:00Z", "٢١٠٠-01-01T00:00:00Z", 4_102_444_800, 1e300, {}]
_URIS: list[object] = ["env:/etc/passwd#X", ["env:/etc/passwd#X"]]


class TestCreate:
    def test_it_works_and_so_does_the_key_at_once(self, house: House, stage: Stage) -> None:
        body = {"name": "backend-server", "scopes": ["read", "write"]}
        created = answer(house.client.post(keys_of(stage), json=body, headers=stage.headers))
        assert list(created) == ["key_id", "key", "name", "scopes", "created_at", "environment"]
        assert created["key_id"].startswith("key_")
        assert parse(created["key"]) is Prefix.LIVE_KEY
        assert {name: created[name] for name in (*body, "created_at", "environment")} == body | {
            "created_at": rfc3339(house.clock()), "environment": "live",
        }  # fmt: skip
        for headers in (api_key(created["key"]), {"X-API-Key": created["key"]}):
            assert answer(house.client.get(f"/orgs/{stage.org}", headers=headers))["org_id"] == stage.org

    def test_a_key_made_under_sandbox_is_a_test_key(self, house: House, stage: Stage) -> None:
        created = create(house, stage, Environment.TEST)
        assert parse(created["key"]) is Prefix.TEST_KEY
        assert created["environment"] == "test"
        assert answer(house.client.get(f"/sandbox/orgs/{stage.org}", headers=api_key(created["key"])))
        refusal(house.client.get(f"/orgs/{stage.org}", headers=api_key(created["key"])), 403, "wrong_environment")

    @pytest.mark.parametrize(
        ("given", "answered"),
        [
            ({}, {"scopes": ["read", "write"]}),
            ({"scopes": ["admin", "write", "read"]}, {"scopes": ["read", "write", "admin"]}),
            *(({"name": name}, {"name": name}) for name in ("a" * 200, "naïve 鍵 🔑", "'; DROP TABLE api_keys;--")),
            ({"name": "  backend \t"}, {"name": "backend"}),
            ({"expires_at": "2100-01-01T00:00:00Z"}, {"expires_at": "2100-01-01T00:00:00Z"}),
            ({"expires_at": "2100-01-01T02:00:00+02:00"}, {"expires_at": "2100-01-01T00:00:00Z"}),
            ({"expires_at": "2099-12-31T23:59:59.5Z"}, {"expires_at": "2099-12-31T23:59:59Z"}),
        ],
    )
    def test_what_is_given_is_answered_in_one_form(
        self, house: House, stage: Stage, given: dict[str, object], answered: dict[str, object]
    ) -> None:
        admin = create(house, stage, scopes=["admin"])["key"]
        created = answer(house.client.post(keys_of(stage), json={"name": "k"} | given, headers=api_key(admin)))
        assert list(created)[:5] == ["key_id", "key", "name", "scopes", "created_at"]
        assert {name: created[name] for name in answered} == answered

    def test_no_expiry_is_none(self, house: House, stage: Stage) -> None:
        assert "expires_at" not in create(house, stage, expires_at=None)

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            ({"scopes": []}, "A key needs at least one scope of read, write, admin."),
            ({"scopes": ["Read"]}, "A scope must be one of read, write, admin."),
            ({"scopes": ["read", "read"]}, "The scope read is named more than once."),
            ({"scopes": {"read": True}}, "scopes must be a list."),
            ({"scopes": [["read"]]}, "scopes.0 must be a string."),
            ({"scopes": ["read"] * 11}, "scopes has too many items."),
            *(({"name": name}, "name must be a string.") for name in (None, 1, ["k"])),
            ({"name": "a" * 1_000_000}, "name is too long."),
            ({"deliver_to": "env:/etc/passwd#X"}, "deliver_to must be a list."),
            *(({field: "x"}, f"{field} is not a known field.") for field in ("nmae", "environment", "key", "state")),
            *(  # a caller could have any file of the server written (design, section 7)
                ({field: value}, f"{field} is not a known field.")
                for field in ("to", "uri", "destination", "destinations", "delivered_to")
                for value in _URIS
            ),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_what_is_wrong_is_refused_with_a_sentence(
        self, house: House, stage: Stage, given: dict[str, object], sentence: str
    ) -> None:
        assert refused(house, stage, **{"name": "k"} | given)["detail"] == sentence

    def test_a_name_is_needed(self, house: House, stage: Stage) -> None:
        assert refused(house, stage)["detail"] == "name is required."

    @pytest.mark.parametrize(
        ("field", "value", "words"),
        [
            *(("name", name, "") for name in ("", " ", "a\u202eb", "a" * 1001)),
            ("expires_at", "2026-01-15T10:30:00Z", "must be in the future"),
            ("expires_at", "9999-12-31T23:59:59Z", "100 years at most"),
            *(("expires_at", edge, "must be a date and time") for edge in _EDGES),
            ("expires_at", "2100-01-01T00:00:00", "must name its time zone"),
            *(("expires_at", value, "must be a date and time") for value in _NO_TIMES),
        ],
    )
    def test_what_cannot_be_is_refused_and_its_field_named(
        self, house: House, stage: Stage, field: str, value: object, words: str
    ) -> None:
        problem = refused(house, stage, **{"name": "k"} | {field: value})
        assert problem["errors"][0]["field"] == field
        assert words in problem["detail"]

    def test_no_uri_is_taken_in_the_place_of_a_name(self, house: House, stage: Stage, tmp_path: Path) -> None:
        body = {"name": "k", "deliver_to": [f"env:{tmp_path}/.env#X"]}
        response = house.client.post(keys_of(stage), json=body, headers=stage.headers)
        refusal(response, 404, "destination_not_found")
        assert answer(house.client.get(keys_of(stage), headers=stage.headers))["api_keys"] == []
        assert list(tmp_path.iterdir()) == []

    def test_a_field_named_twice_is_refused(self, house: House, stage: Stage) -> None:
        body = b'{"name": "first", "scopes": ["admin"], "name": "last", "scopes": ["read"]}'
        response = house.client.post(keys_of(stage), data=body, content_type="application/json", headers=stage.headers)
        assert "A field stands twice" in refusal(response, 400, "bad_request")["detail"]
        assert answer(house.client.get(keys_of(stage), headers=stage.headers))["api_keys"] == []

    def test_the_trail_says_who_made_it_and_what_it_may_do(self, house: House, stage: Stage) -> None:
        created = create(house, stage, scopes=["read"], expires_at="2100-01-01T00:00:00Z")
        with reading(db.session):
            events = db.session.scalars(select(AuditEvent).where(AuditEvent.target_id == created["key_id"])).all()
        assert [event.action for event in events] == ["key.created", "key.activated"]
        assert {(event.actor_kind, event.actor_id, event.org_id) for event in events} == {
            ("user", stage.owner.id, stage.org)
        }
        assert events[0].details == {
            "name": "k", "scopes": ["read"], "environment": "live", "expires_at": "2100-01-01T00:00:00Z",
        }  # fmt: skip


def test_a_key_is_in_no_other_answer_no_row_no_file_and_no_log(
    app: Flask, world: World, client: SeparateClient, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(world)
    keys = f"/orgs/{stage.org}/api-keys"
    created = answer(client.post(keys, json={"name": "k"}, headers=stage.headers))
    key, secret, one = created["key"], created["key"][9:31], f"{keys}/{created['key_id']}"
    responses = [
        client.get(one, headers=stage.headers),
        client.get(keys, headers=stage.headers),
        client.patch(one, json={"name": "other"}, headers=stage.headers),
        client.post(f"{one}/disable", headers=stage.headers),
        client.post(f"{one}/enable", headers=stage.headers),
        *(client.get(path, headers=api_key(key)) for path in (f"/orgs/{stage.org}", "/orgs/org_x", "/users/me")),
        client.delete(one, headers=stage.headers),
        client.get(f"/orgs/{stage.org}", headers=api_key(key)),
        client.get(f"{keys}?include_deleted=true", headers=stage.headers),
    ]
    for response in responses:
        assert key not in response.get_data(as_text=True) + str(response.headers)
    client.get(f"/orgs/{key}", headers=api_key(key))
    assert secret not in str(all_rows())
    assert key not in caplog.text
    contents = [path.read_bytes() for path in settings.instance_path.rglob("*") if path.is_file()]
    if db.engine.dialect.name == "sqlite":  # the search looks where keys are kept
        assert any(created["key_id"].encode() in content for content in contents)
    assert not any(secret.encode() in content for content in contents)


class TestList:
    def test_it_works(self, house: House, stage: Stage) -> None:
        first = create(house, stage, name="first")
        house.clock.turn(seconds=1)
        second = create(house, stage, name="second", expires_at="2100-01-01T00:00:00Z")
        listed = answer(house.client.get(keys_of(stage), headers=stage.headers))
        assert listed == {
            "api_keys": [
                {
                    "key_id": key["key_id"],
                    "name": key["name"],
                    "scopes": ["read", "write"],
                    "created_at": key["created_at"],
                    "environment": "live",
                    "state": "active",
                    "hint": f"msk_live_…{key['key'][-4:]}",
                }
                | ({"expires_at": key["expires_at"]} if "expires_at" in key else {})
                for key in (second, first)
            ],
            "next_cursor": None,
        }

    def test_a_key_made_meanwhile_moves_no_page(self, house: House) -> None:
        stage = Stage(house.world)
        for _ in range(4):
            house.world.key(stage.organization)
            house.clock.turn(seconds=1)
        whole = walk(house, stage, 4)
        first = answer(house.client.get(f"{keys_of(stage)}?limit=2", headers=stage.headers))
        house.world.key(stage.organization)
        rest = walk(house, stage, 2, cursor=first["next_cursor"])
        assert [key["key_id"] for key in first["api_keys"]] + rest == whole

    def test_expired_keys_are_in_it_and_deleted_and_failed_ones_on_request_only(
        self, house: House, stage: Stage
    ) -> None:
        expired = house.world.key(stage.organization, lives_seconds=60)[0].id
        house.clock.turn(seconds=60)
        living, deleted, failed = (create(house, stage)["key_id"] for _ in range(3))
        assert house.client.delete(f"{keys_of(stage)}/{deleted}", headers=stage.headers).status_code == 200
        put_into(house.world, failed, State.FAILED)
        listed = answer(house.client.get(keys_of(stage), headers=stage.headers))["api_keys"]
        assert {key["key_id"]: key["state"] for key in listed} == {living: "active", expired: "expired"}
        with_all = answer(house.client.get(f"{keys_of(stage)}?include_deleted=true", headers=stage.headers))["api_keys"]
        assert {key["key_id"]: key["state"] for key in with_all} == {
            living: "active", expired: "expired", deleted: "revoked", failed: "failed",
        }  # fmt: skip

    def test_it_says_where_a_key_was_delivered_to(self, house: House, stage: Stage) -> None:
        uris = [f"env:/srv/{stage.key}/{place}.env#KEY" for place in "ab"]
        deliver(house, stage.key, uris)
        for path in (keys_of(stage), f"{keys_of(stage)}/{stage.key}"):
            document = answer(house.client.get(path, headers=stage.headers))
            shown = document["api_keys"][0] if "api_keys" in document else document
            assert sorted(shown["delivered_to"]) == uris

    @pytest.mark.parametrize(
        ("query", "sentence"),
        [
            ("limit=0", "limit is too small."),
            ("limit=" + "9" * 4000, "limit is too large."),
            *((f"limit={value}", "limit must be a whole number.") for value in ("many", "", "1.5", "%D9%A3", "%00")),
            *((f"include_deleted={value}", "include_deleted must be true or false.") for value in ("maybe", "")),
            ("cursor=" + "x" * 1_201, "cursor is too long."),
        ],
    )
    def test_a_wrong_query_is_refused_with_a_sentence(
        self, house: House, stage: Stage, query: str, sentence: str
    ) -> None:
        response = house.client.get(f"{keys_of(stage)}?{query}", headers=stage.headers)
        assert refusal(response, 422, "invalid_input")["detail"] == sentence

    def test_a_cursor_from_elsewhere_leads_to_nobody_elses_keys(self, house: House, stage: Stage) -> None:
        other = Stage(house.world)
        mine = create(house, stage)["key_id"]
        house.clock.turn(seconds=1)
        for _ in range(3):
            create(house, other)
            create(house, stage, Environment.TEST)
        for path, headers in (
            (keys_of(other), other.headers),
            (keys_of(stage, Environment.TEST), stage.headers),
        ):
            cursor = answer(house.client.get(f"{path}?limit=1", headers=headers))["next_cursor"]
            assert walk(house, stage, 1, cursor=cursor) == [mine]


def walk(house: House, stage: Stage, limit: int, cursor: str | None = None) -> list[str]:
    """Return the ids of all keys, page by page."""
    found: list[str] = []
    while True:
        query = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        page = answer(house.client.get(keys_of(stage), query_string=query, headers=stage.headers))
        assert len(page["api_keys"]) <= limit
        found += [key["key_id"] for key in page["api_keys"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def deliver(house: House, key_id: str, uris: list[str]) -> None:
    now = house.clock()
    with writing(db.session):
        db.session.add_all(
            Delivery(
                id=f"dlv_{key_id[-10:]}{number}", key_id=key_id, uri=uri, state=DeliveryState.VERIFIED, attempt_id="a",
                expected_version="", lease_until=now, created_at=now, verified_at=now,
            )
            for number, uri in enumerate(uris)
        )  # fmt: skip


class TestShow:
    def test_it_works(self, house: House, stage: Stage) -> None:
        created = create(house, stage, name="shown", scopes=["admin"])
        assert answer(house.client.get(f"{keys_of(stage)}/{created['key_id']}", headers=stage.headers)) == {
            "key_id": created["key_id"],
            "name": "shown",
            "scopes": ["admin"],
            "created_at": created["created_at"],
            "environment": "live",
            "state": "active",
            "hint": f"msk_live_…{created['key'][-4:]}",
        }

    @pytest.mark.parametrize("state", [State.PENDING, State.DISABLED, State.RETIRING, State.FAILED])
    def test_its_state_is_told(self, house: House, stage: Stage, state: State) -> None:
        put_into(house.world, stage.key, state)
        assert answer(house.client.get(f"{keys_of(stage)}/{stage.key}", headers=stage.headers))["state"] == state


#: What can be asked of one key: method, what follows its id, body.
ACTS: list[tuple[str, str, dict[str, str] | None]] = [
    ("GET", "", None),
    ("PATCH", "", {"name": "other"}),
    ("POST", "/disable", None),
    ("POST", "/enable", None),
    ("DELETE", "", None),
]


class TestOneKey:
    @pytest.mark.parametrize("asked", ["foreign", "other environment", "deleted", "unknown"])
    def test_a_key_that_is_not_there_for_the_caller_is_not_found(self, house: House, stage: Stage, asked: str) -> None:
        key_id = {
            "foreign": Stage(house.world).key,
            "other environment": create(house, stage, Environment.TEST)["key_id"],
            "deleted": stage.key,
            "unknown": "key_aaaaaaaaaaaa",
        }[asked]
        if asked == "deleted":
            put_into(house.world, key_id, State.REVOKED)
        before = row_of(key_id)
        for response in self.act(house, stage, key_id):
            detail = refusal(response, 404, "key_not_found")["detail"]
            assert detail == f"There is no live API key {key_id!r} in {stage.org}."
        assert row_of(key_id) == before

    def test_an_id_is_compared_to_the_letter_and_never_interpreted(self, house: House, stage: Stage) -> None:
        before = row_of(stage.key)
        patterns = ["%25", "_", "key_%25", "key_____________", "%00", "*", "KEY_AAAAAAAAAAAA", "1 OR 1=1"]
        near = [stage.key.upper(), f"{stage.key}%20", f"%20{stage.key}", stage.key[:-1], f"{stage.key}%00"]
        for key_id in patterns + near:
            for response in self.act(house, stage, key_id):
                assert response.status_code in (404, 422)
        assert row_of(stage.key) == before

    def act(self, house: House, stage: Stage, key_id: str) -> Iterator[TestResponse]:
        for method, rest, body in ACTS:
            path = f"{keys_of(stage)}/{key_id}{rest}"
            yield house.client.open(path, method=method, json=body, headers=stage.headers)


def row_of(key_id: str) -> list[object]:
    with db.engine.connect() as connection:
        return list(connection.execute(select(ApiKey.__table__).where(ApiKey.id == key_id)).all())


class TestRename:
    def test_it_works(self, house: House, stage: Stage) -> None:
        path = f"{keys_of(stage)}/{stage.key}"
        assert answer(house.client.patch(path, json={"name": " other "}, headers=stage.headers))["name"] == "other"
        assert answer(house.client.get(path, headers=stage.headers))["name"] == "other"

    @pytest.mark.parametrize(
        "body",
        [{}, {"name": ""}, {"name": None}, {"name": "a\nb"}, {"name": "x", "scopes": ["admin"]}, {"state": "active"}],
    )
    def test_nothing_but_a_good_name_is_taken(self, house: House, stage: Stage, body: dict[str, object]) -> None:
        before = row_of(stage.key)
        response = house.client.patch(f"{keys_of(stage)}/{stage.key}", json=body, headers=stage.headers)
        refusal(response, 422, "invalid_input")
        assert row_of(stage.key) == before


class TestDisableAndEnable:
    def test_it_works(self, house: House, stage: Stage) -> None:
        key, plaintext = house.world.key(stage.organization)
        path, headers = f"{keys_of(stage)}/{key.id}", api_key(plaintext)
        assert answer(house.client.post(f"{path}/disable", headers=stage.headers))["state"] == "disabled"
        refusal(house.client.get(f"/orgs/{stage.org}", headers=headers), 401, "disabled_credential")
        assert answer(house.client.post(f"{path}/enable", headers=stage.headers))["state"] == "active"
        assert house.client.get(f"/orgs/{stage.org}", headers=headers).status_code == 200

    def test_enabling_an_expired_key_does_not_bring_it_back(self, house: House, stage: Stage) -> None:
        key, plaintext = house.world.key(stage.organization, lives_seconds=60)
        path = f"{keys_of(stage)}/{key.id}"
        assert house.client.post(f"{path}/disable", headers=stage.headers).status_code == 200
        house.clock.turn(seconds=60)
        assert answer(house.client.post(f"{path}/enable", headers=stage.headers))["state"] == "expired"
        refusal(house.client.get(f"/orgs/{stage.org}", headers=api_key(plaintext)), 401, "expired_credential")

    @pytest.mark.parametrize("act", ["disable", "enable"])
    def test_a_body_is_not_looked_at(self, house: House, stage: Stage, act: str) -> None:
        put_into(house.world, stage.key, State.ACTIVE if act == "disable" else State.DISABLED)
        response = house.client.post(f"{keys_of(stage)}/{stage.key}/{act}", data=b"\xff{", headers=stage.headers)
        assert response.status_code == 200


@pytest.mark.parametrize(
    ("method", "rest", "then"),
    [("POST", "/disable", "/enable"), ("DELETE", "", "")],
)
def test_a_key_can_end_itself_and_then_do_nothing(
    house: House, stage: Stage, method: str, rest: str, then: str
) -> None:
    key, plaintext = house.world.key(stage.organization, Scope.ADMIN)
    path, headers = f"{keys_of(stage)}/{key.id}", api_key(plaintext)
    assert house.client.open(path + rest, method=method, headers=headers).status_code == 200
    code = "disabled_credential" if rest else "deleted_credential"
    refusal(house.client.open(path + then, method=method, headers=headers), 401, code)


def test_a_deleted_key_is_refused_on_the_very_next_request_and_its_row_stays(house: House, stage: Stage) -> None:
    (key, plaintext), (_, other) = (house.world.key(stage.organization) for _ in range(2))
    assert house.client.get(f"/orgs/{stage.org}", headers=api_key(plaintext)).status_code == 200
    assert house.client.delete(f"{keys_of(stage)}/{key.id}", headers=stage.headers).status_code == 200
    refusal(house.client.get(f"/orgs/{stage.org}", headers=api_key(plaintext)), 401, "deleted_credential")
    assert house.client.get(f"/orgs/{stage.org}", headers=api_key(other)).status_code == 200
    with reading(db.session):
        row = db.session.get_one(ApiKey, key.id, populate_existing=True)
        events = db.session.scalars(select(AuditEvent.action).where(AuditEvent.target_id == key.id)).all()
    assert row.revoked_at == house.clock()
    assert events[-1] == "key.deleted"


def test_nothing_is_committed_when_a_creation_fails(
    app: Flask, world: World, client: SeparateClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(world)
    headers = bearer(world.token(stage.owner))
    before = all_rows()
    monkeypatch.setattr("mushu.server.lifecycle.issue.mint_key", _mint_and_fail)
    refusal(client.post(f"/orgs/{stage.org}/api-keys", json={"name": "k"}, headers=headers), 500, "internal")
    assert all_rows() == before


def _mint_and_fail(*arguments: Any) -> None:
    mint_key(*arguments)
    raise RuntimeError("the disk is full")
