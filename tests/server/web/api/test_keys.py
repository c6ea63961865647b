"""Keys over HTTP: created once, shown never again, renamed, disabled, enabled, deleted."""

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from mushu.environment import Environment
from mushu.keyformat import Prefix, parse
from mushu.server.audit.models import AuditEvent
from mushu.server.audit.service import SYSTEM
from mushu.server.clock import rfc3339
from mushu.server.config import Settings
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.delivery.models import Delivery, DeliveryState
from mushu.server.keys.minting import mint_key
from mushu.server.keys.models import ApiKey
from mushu.server.keys.scopes import Scope
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


class TestCreate:
    def test_it_works(self, house: House, stage: Stage) -> None:
        body = {"name": "backend-server", "scopes": ["read", "write"]}
        created = answer(house.client.post(keys_of(stage), json=body, headers=stage.headers))
        assert list(created) == ["key_id", "key", "name", "scopes", "created_at", "environment"]
        assert created["key_id"].startswith("key_")
        assert parse(created["key"]) is Prefix.LIVE_KEY
        assert created["name"] == "backend-server"
        assert created["scopes"] == ["read", "write"]
        assert created["created_at"] == rfc3339(house.clock())
        assert created["environment"] == "live"

    def test_the_contracts_fields_come_first_and_in_its_order(self, house: House, stage: Stage) -> None:
        created = create(house, stage, expires_at="2100-01-01T00:00:00Z")
        assert list(created)[:5] == ["key_id", "key", "name", "scopes", "created_at"]
        assert created["expires_at"] == "2100-01-01T00:00:00Z"

    def test_the_key_works_at_once(self, house: House, stage: Stage) -> None:
        created = create(house, stage)
        for headers in (api_key(created["key"]), {"X-API-Key": created["key"]}):
            assert answer(house.client.get(f"/orgs/{stage.org}", headers=headers))["org_id"] == stage.org

    def test_a_key_made_under_sandbox_is_a_test_key(self, house: House, stage: Stage) -> None:
        created = create(house, stage, Environment.TEST)
        assert parse(created["key"]) is Prefix.TEST_KEY
        assert created["environment"] == "test"
        assert answer(house.client.get(f"/sandbox/orgs/{stage.org}", headers=api_key(created["key"])))
        refusal(house.client.get(f"/orgs/{stage.org}", headers=api_key(created["key"])), 403, "wrong_environment")

    def test_an_admin_key_can_make_keys(self, house: House, stage: Stage) -> None:
        admin = create(house, stage, scopes=["admin"])
        body = {"name": "second"}
        assert answer(house.client.post(keys_of(stage), json=body, headers=api_key(admin["key"])))["name"] == "second"

    @pytest.mark.parametrize(
        ("given", "answered"), [(None, ["read", "write"]), (["admin", "write", "read"], ["read", "write", "admin"])]
    )
    def test_scopes_are_answered_in_one_order(
        self, house: House, stage: Stage, given: list[str] | None, answered: list[str]
    ) -> None:
        created = create(house, stage) if given is None else create(house, stage, scopes=given)
        assert created["scopes"] == answered

    @pytest.mark.parametrize(
        ("scopes", "sentence"),
        [
            ([], "A key needs at least one scope of read, write, admin."),
            (["Read"], "A scope must be one of read, write, admin."),
            (["read", "read"], "The scope read is named more than once."),
            ({"read": True}, "scopes must be a list."),
            ([["read"]], "scopes.0 must be a string."),
            (["read"] * 11, "scopes has too many items."),
        ],
    )
    def test_wrong_scopes_are_refused_with_a_sentence(
        self, house: House, stage: Stage, scopes: object, sentence: str
    ) -> None:
        assert refused(house, stage, name="k", scopes=scopes)["detail"] == sentence

    @pytest.mark.parametrize("name", ["a" * 200, "naïve 鍵 🔑", "'; DROP TABLE api_keys;--"])
    def test_a_name_is_kept_as_it_is(self, house: House, stage: Stage, name: str) -> None:
        assert create(house, stage, name=name)["name"] == name

    def test_white_space_around_a_name_is_dropped(self, house: House, stage: Stage) -> None:
        assert create(house, stage, name="  backend \t")["name"] == "backend"

    @pytest.mark.parametrize("name", ["", " ", "a\u202eb", "a" * 1001])
    def test_a_name_that_cannot_be_shown_is_refused(self, house: House, stage: Stage, name: str) -> None:
        assert refused(house, stage, name=name)["errors"][0]["field"] == "name"

    @pytest.mark.parametrize("name", [None, 1, ["k"]])
    def test_a_name_that_is_no_text_is_refused(self, house: House, stage: Stage, name: object) -> None:
        assert refused(house, stage, name=name)["detail"] == "name must be a string."

    def test_a_name_is_needed(self, house: House, stage: Stage) -> None:
        assert refused(house, stage)["detail"] == "name is required."

    def test_a_name_of_a_megabyte_is_refused(self, house: House, stage: Stage) -> None:
        assert refused(house, stage, name="a" * 1_000_000)["detail"] == "name is too long."
        response = house.client.post(keys_of(stage), json={"name": "a" * 1_048_576}, headers=stage.headers)
        refusal(response, 413, "request_entity_too_large")

    @pytest.mark.parametrize(
        ("given", "answered"),
        [
            ("2100-01-01T00:00:00Z", "2100-01-01T00:00:00Z"),
            ("2100-01-01T02:00:00+02:00", "2100-01-01T00:00:00Z"),
            ("2099-12-31T23:59:59.5Z", "2099-12-31T23:59:59Z"),
        ],
    )
    def test_an_expiry_is_answered_in_utc(self, house: House, stage: Stage, given: str, answered: str) -> None:
        assert create(house, stage, expires_at=given)["expires_at"] == answered

    def test_no_expiry_is_none(self, house: House, stage: Stage) -> None:
        assert "expires_at" not in create(house, stage, expires_at=None)

    @pytest.mark.parametrize(
        ("expires_at", "words"),
        [
            ("2026-01-15T10:30:00Z", "must be in the future"),
            ("0001-01-01T00:00:00+14:00", "must be in the future"),
            ("9999-12-31T23:59:59.999999-23:59", "100 years at most"),
            ("2100-01-01T00:00:00", "must name its time zone"),
            ("2100-01-01", "must be a date and time"),
            ("2100-02-30T00:00:00Z", "must be a date and time"),
            ("٢١٠٠-01-01T00:00:00Z", "must be a date and time"),
            (4_102_444_800, "must be a date and time"),
            (1e300, "must be a date and time"),
            ({}, "must be a date and time"),
        ],
    )
    def test_an_expiry_that_is_none_is_refused(
        self, house: House, stage: Stage, expires_at: object, words: str
    ) -> None:
        problem = refused(house, stage, name="k", expires_at=expires_at)
        assert problem["errors"][0]["field"] == "expires_at"
        assert words in problem["detail"]

    @pytest.mark.parametrize("field", ["nmae", "environment", "key", "state"])
    def test_an_unknown_field_is_refused_and_named(self, house: House, stage: Stage, field: str) -> None:
        assert refused(house, stage, name="k", **{field: "x"})["detail"] == f"{field} is not a known field."

    @pytest.mark.parametrize("field", ["to", "uri", "destination", "destinations", "delivered_to"])
    def test_no_uri_is_taken_through_http(self, house: House, stage: Stage, field: str) -> None:
        """A caller could have any file of the server written (design, section 7)."""
        for value in ("env:/etc/passwd#X", ["env:/etc/passwd#X"]):
            assert refused(house, stage, name="k", **{field: value})["detail"] == f"{field} is not a known field."

    def test_nor_in_the_place_of_a_name(self, house: House, stage: Stage, tmp_path: Path) -> None:
        uri = f"env:{tmp_path}/.env#X"
        assert refused(house, stage, name="k", deliver_to=uri)["detail"] == "deliver_to must be a list."
        body = {"name": "k", "deliver_to": [uri]}
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


class TestTheKeyIsNowhereElse:
    @pytest.fixture
    def created(self, app: Flask, world: World, client: SeparateClient) -> tuple[Stage, dict[str, Any]]:
        stage = Stage(world)
        response = client.post(f"/orgs/{stage.org}/api-keys", json={"name": "k"}, headers=stage.headers)
        return stage, answer(response)

    def test_not_in_any_other_answer(self, client: SeparateClient, created: tuple[Stage, dict[str, Any]]) -> None:
        stage, key = created
        one = f"/orgs/{stage.org}/api-keys/{key['key_id']}"
        responses = [
            client.get(one, headers=stage.headers),
            client.get(f"/orgs/{stage.org}/api-keys", headers=stage.headers),
            client.patch(one, json={"name": "other"}, headers=stage.headers),
            client.post(f"{one}/disable", headers=stage.headers),
            client.post(f"{one}/enable", headers=stage.headers),
            client.get(f"/orgs/{stage.org}", headers=api_key(key["key"])),
            client.delete(one, headers=stage.headers),
            client.get(f"/orgs/{stage.org}", headers=api_key(key["key"])),
            client.get(f"/orgs/{stage.org}/api-keys?include_deleted=true", headers=stage.headers),
        ]
        for response in responses:
            assert key["key"] not in response.get_data(as_text=True) + str(response.headers)

    def test_not_in_any_row(self, created: tuple[Stage, dict[str, Any]]) -> None:
        secret = created[1]["key"][9:31]
        assert secret not in str(all_rows())

    def test_not_in_any_file(self, settings: Settings, created: tuple[Stage, dict[str, Any]]) -> None:
        secret = created[1]["key"][9:31].encode()
        contents = [path.read_bytes() for path in settings.instance_path.rglob("*") if path.is_file()]
        if db.engine.dialect.name == "sqlite":  # the search looks where keys are kept
            assert any(created[1]["key_id"].encode() in content for content in contents)
        assert not any(secret in content for content in contents)

    def test_nor_in_the_log(
        self, client: SeparateClient, created: tuple[Stage, dict[str, Any]], caplog: pytest.LogCaptureFixture
    ) -> None:
        stage, key = created
        for path in (f"/orgs/{stage.org}", "/orgs/org_x", f"/orgs/{key['key']}", "/users/me"):
            client.get(path, headers=api_key(key["key"]))
        assert key["key"] not in caplog.text


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

    def test_deleted_and_failed_keys_are_in_it_on_request_only(self, house: House, stage: Stage) -> None:
        living, deleted, failed = (create(house, stage)["key_id"] for _ in range(3))
        assert house.client.delete(f"{keys_of(stage)}/{deleted}", headers=stage.headers).status_code == 200
        put_into(house.world, failed, State.FAILED)
        listed = answer(house.client.get(keys_of(stage), headers=stage.headers))["api_keys"]
        assert {key["key_id"] for key in listed} == {living}
        with_all = answer(house.client.get(f"{keys_of(stage)}?include_deleted=true", headers=stage.headers))["api_keys"]
        assert {key["key_id"]: key["state"] for key in with_all} == {
            living: "active", deleted: "revoked", failed: "failed",
        }  # fmt: skip

    def test_an_expired_key_is_in_it_and_called_so(self, house: House, stage: Stage) -> None:
        house.world.key(stage.organization, lives_seconds=60)
        house.clock.turn(seconds=60)
        assert answer(house.client.get(keys_of(stage), headers=stage.headers))["api_keys"][0]["state"] == "expired"

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
            ("cursor=" + "x" * 201, "cursor is too long."),
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
    @pytest.mark.parametrize(("method", "rest", "body"), ACTS)
    @pytest.mark.parametrize("asked", ["foreign", "other environment", "deleted", "unknown"])
    def test_a_key_that_is_not_there_for_the_caller_is_not_found(
        self, house: House, stage: Stage, method: str, rest: str, body: dict[str, str] | None, asked: str
    ) -> None:
        key_id = {
            "foreign": Stage(house.world).key,
            "other environment": create(house, stage, Environment.TEST)["key_id"],
            "deleted": stage.key,
            "unknown": "key_aaaaaaaaaaaa",
        }[asked]
        if asked == "deleted":
            put_into(house.world, key_id, State.REVOKED)
        before = row_of(key_id)
        response = house.client.open(
            f"{keys_of(stage)}/{key_id}{rest}", method=method, json=body, headers=stage.headers
        )
        detail = refusal(response, 404, "key_not_found")["detail"]
        assert detail == f"There is no live API key {key_id!r} in {stage.org}."
        assert row_of(key_id) == before

    @pytest.mark.parametrize(
        "key_id", ["%25", "_", "key_%25", "key_____________", "%00", "*", "KEY_AAAAAAAAAAAA", "1 OR 1=1"]
    )
    def test_an_id_is_compared_and_never_interpreted(self, house: House, stage: Stage, key_id: str) -> None:
        assert stage.key
        for method, rest, body in ACTS:
            response = house.client.open(
                f"{keys_of(stage)}/{key_id}{rest}", method=method, json=body, headers=stage.headers
            )
            assert response.status_code in (404, 422)

    def test_the_id_of_a_key_is_matched_to_the_letter(self, house: House, stage: Stage) -> None:
        for key_id in (stage.key.upper(), f"{stage.key}%20", f"%20{stage.key}", stage.key[:-1], f"{stage.key}%00"):
            response = house.client.get(f"{keys_of(stage)}/{key_id}", headers=stage.headers)
            assert response.status_code in (404, 422)


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

    def test_a_key_can_disable_itself_and_then_not_enable_itself(self, house: House, stage: Stage) -> None:
        key, plaintext = house.world.key(stage.organization, Scope.ADMIN)
        path, headers = f"{keys_of(stage)}/{key.id}", api_key(plaintext)
        assert house.client.post(f"{path}/disable", headers=headers).status_code == 200
        refusal(house.client.post(f"{path}/enable", headers=headers), 401, "disabled_credential")

    @pytest.mark.parametrize("act", ["disable", "enable"])
    def test_a_body_is_not_looked_at(self, house: House, stage: Stage, act: str) -> None:
        put_into(house.world, stage.key, State.ACTIVE if act == "disable" else State.DISABLED)
        response = house.client.post(f"{keys_of(stage)}/{stage.key}/{act}", data=b"\xff{", headers=stage.headers)
        assert response.status_code == 200


class TestDelete:
    def test_the_very_next_request_is_refused(self, house: House, stage: Stage) -> None:
        key, plaintext = house.world.key(stage.organization)
        assert house.client.get(f"/orgs/{stage.org}", headers=api_key(plaintext)).status_code == 200
        assert house.client.delete(f"{keys_of(stage)}/{key.id}", headers=stage.headers).status_code == 200
        refusal(house.client.get(f"/orgs/{stage.org}", headers=api_key(plaintext)), 401, "deleted_credential")

    def test_a_key_can_delete_itself(self, house: House, stage: Stage) -> None:
        key, plaintext = house.world.key(stage.organization, Scope.ADMIN)
        path = f"{keys_of(stage)}/{key.id}"
        assert house.client.delete(path, headers=api_key(plaintext)).status_code == 200
        refusal(house.client.delete(path, headers=api_key(plaintext)), 401, "deleted_credential")

    def test_the_row_stays_for_the_trail(self, house: House, stage: Stage) -> None:
        house.client.delete(f"{keys_of(stage)}/{stage.key}", headers=stage.headers)
        with reading(db.session):
            row = db.session.get_one(ApiKey, stage.key, populate_existing=True)
            events = db.session.scalars(select(AuditEvent.action).where(AuditEvent.target_id == stage.key)).all()
        assert row.revoked_at == house.clock()
        assert events[-1] == "key.deleted"

    def test_others_stay_alive(self, house: House, stage: Stage) -> None:
        _, plaintext = house.world.key(stage.organization)
        house.client.delete(f"{keys_of(stage)}/{stage.key}", headers=stage.headers)
        assert house.client.get(f"/orgs/{stage.org}", headers=api_key(plaintext)).status_code == 200


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
