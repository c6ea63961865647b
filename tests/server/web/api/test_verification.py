"""A service asks about keys that it was shown, and learns of those of its own organization and environment only."""

import re
from base64 import b64encode
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask
from sqlalchemy.exc import DatabaseError, OperationalError
from werkzeug.test import TestResponse

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.keys import Scope
from mushu.server.keys.service import change_state, get_key
from mushu.server.keys.states import DELETE, DISABLE
from mushu.server.orgs.models import Organization
from mushu.server.usage import uses_of
from mushu.server.usage.report import usage_of
from mushu.server.web.extensions import recorder_of
from tests.conftest import TurnableClock
from tests.server.conftest import World, api_key, bearer
from tests.server.web.asking import SeparateClient, answer, refusal

FORM = "application/x-www-form-urlencoded"
#: The characters that a description may have (RFC 6749, section 5.2).
DESCRIPTION = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+\.")


@pytest.fixture
def org(world: World) -> Organization:
    return world.org()


@pytest.fixture
def asker(world: World, org: Organization) -> str:
    return world.key(org, Scope.READ)[1]


def basic(secret: str, client_id: str = "orders") -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{client_id}:{secret}".encode()).decode()}


def introspect(client: SeparateClient, headers: dict[str, str], **form: str) -> TestResponse:
    return client.post("/oauth/introspect", data=form, headers=headers)


def verify(client: SeparateClient, asker: str, **asked: Any) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = answer(client.post("/api-keys/verify", json=asked, headers=api_key(asker)))[
        "results"
    ]
    return results


def end(world: World, key_id: str, change: Any) -> None:
    with writing(db.session):
        change_state(db.session, world.clock, SYSTEM, key_id, change)


@pytest.mark.usefixtures("on_both_ways")
def test_each_key_is_told_in_its_place(
    client: SeparateClient, world: World, org: Organization, asker: str, clock: TurnableClock
) -> None:
    (good, text), (dead, over), (off, shut) = world.key(org), world.key(org), world.key(org)
    late, brief = world.key(org, lives_seconds=60)
    clock.turn(seconds=60)
    end(world, dead.id, DELETE)
    end(world, off.id, DISABLE)
    _, test = world.key(org, environment=Environment.TEST)
    _, foreign = world.key(world.org())
    token = world.token(world.owner_of(org))
    expected = [
        {"valid": True, "state": "active", "key_id": good.id, "name": "k", "scopes": ["read", "write"],
         "environment": "live"},
        {"valid": False, "state": "revoked", "key_id": dead.id, "code": "deleted_credential"},
        {"valid": False, "state": "disabled", "key_id": off.id, "code": "disabled_credential"},
        {"valid": False, "state": "expired", "key_id": late.id, "code": "expired_credential"},
        {"valid": False, "state": "unknown", "code": "unknown_credential"},
        {"valid": False, "state": "unknown", "code": "unknown_credential"},
        {"valid": False, "state": "unknown", "code": "malformed_credential"},
        {"valid": False, "state": "unknown", "code": "malformed_credential"},
    ]  # fmt: skip
    for _ in range(2):
        found = verify(client, asker, keys=[text, over, shut, brief, test, foreign, token, ""])
        assert [one for one in found if not one["valid"] and not one.pop("detail").endswith(".")] == []
        assert found == expected
    assert verify(client, asker, key=text, scope="write") == [expected[0]]
    (lacking,) = verify(client, asker, key=text, scope="admin")
    assert (lacking["valid"], lacking["state"], lacking["code"]) == (False, "active", "missing_scope")


@pytest.mark.usefixtures("on_both_ways")
def test_a_key_of_test_asks_about_keys_of_test(client: SeparateClient, world: World, org: Organization) -> None:
    (_, asker), (key, text) = (world.key(org, environment=Environment.TEST) for _ in range(2))
    (found,) = verify(client, asker, key=text)
    assert (found["valid"], found["key_id"], found["environment"]) == (True, key.id, "test")
    assert verify(client, asker, key=world.key(org)[1])[0]["state"] == "unknown"
    assert answer(introspect(client, bearer(asker), token=text))["client_id"] == key.id
    refusal(client.post("/sandbox/api-keys/verify", json={"key": text}, headers=api_key(asker)), 404, "not_found")


def test_who_may_not_ask_and_what_cannot_be_asked(
    client: SeparateClient, world: World, org: Organization, asker: str
) -> None:
    headers, good = api_key(asker), {"key": asker}
    wrong: tuple[dict[str, Any], ...] = (
        {"scope": "read"}, {"key": asker, "keys": [asker]}, {"keys": []}, {"keys": ["x"] * 101}, {"keys": [1]},
        good | {"scope": "all"}, good | {"client_address": "localhost"}, good | {"more": 1},
        good | {"client_address": "10.0.0.1, 10.0.0.2"},
    )  # fmt: skip
    for asked in wrong:
        refusal(client.post("/api-keys/verify", json=asked, headers=headers), 422, "invalid_input")
    refusal(client.post("/api-keys/verify?key=x", json=good, headers=headers), 422, "invalid_input")
    refusal(
        client.post("/api-keys/verify", data="{", content_type="application/json", headers=headers), 400, "bad_request"
    )
    refusal(client.get("/api-keys/verify", headers=headers), 405, "method_not_allowed")
    assert len(verify(client, asker, keys=["x"] * 100)) == 100
    token = bearer(world.token(world.owner_of(org)))
    refusal(client.post("/api-keys/verify", json=good, headers=token), 403, "key_required")
    writer = api_key(world.key(org, Scope.WRITE)[1])
    refusal(client.post("/api-keys/verify", json=good, headers=writer), 403, "missing_scope")


@pytest.mark.fault
@pytest.mark.parametrize(
    ("asked", "detail"),
    [
        ({}, "Send `key` for one API key, or `keys` for several; not both."),
        ({"key": "x", "keys": ["x"]}, "Send `key` for one API key, or `keys` for several; not both."),
        ({"keys": []}, "keys has too few items."),
        ({"key": "x", "scope": "all"}, "scope must be 'read', 'write' or 'admin'."),
        (
            {"key": "x", "client_address": "10.0.0.1:80"},
            "client_address must be one address of IPv4 or IPv6, such as 198.51.100.7.",
        ),
    ],
)
def test_what_cannot_be_asked_is_told_with_what_can(
    client: SeparateClient, asker: str, asked: dict[str, Any], detail: str
) -> None:
    refused = client.post("/api-keys/verify", json=asked, headers=api_key(asker))
    assert refusal(refused, 422, "invalid_input")["detail"] == detail


@pytest.mark.fault
@pytest.mark.usefixtures("on_both_ways")
def test_a_body_that_others_would_decompress_is_refused_also_where_its_answer_is_remembered(
    client: SeparateClient, asker: str
) -> None:
    for coding, status in (("identity", 200), ("gzip", 400), ("identity", 200), ("br, identity", 400), ("", 400)):
        headers = api_key(asker) | {"Content-Encoding": coding}
        asked = client.post("/api-keys/verify", json={"key": asker}, headers=headers)
        introspected = introspect(client, headers, token=asker)
        assert (asked.status_code, introspected.status_code) == (status, status), coding
    assert asked.get_json()["detail"].endswith("It has a Content-Encoding: send it without one.")
    assert introspected.get_json()["error"] == "invalid_request"


@pytest.mark.fault
@pytest.mark.usefixtures("on_both_ways")
def test_what_is_no_key_is_told_what_a_key_is_and_not_how_to_send_it(
    client: SeparateClient, world: World, org: Organization, asker: str
) -> None:
    how = "An API key is msk_live_ or msk_test_ and 28 letters and digits."
    token, other = verify(client, asker, keys=[world.token(world.owner_of(org)), "x"])
    assert token["detail"] == f"This credential is a CLI token, and only API keys pass. {how}"
    assert other["detail"] == f"This is not a credential of this server. {how}"


@pytest.mark.usefixtures("on_both_ways")
def test_introspection_is_that_of_rfc_7662(
    client: SeparateClient, world: World, org: Organization, asker: str, clock: TurnableClock
) -> None:
    key, text = world.key(org, lives_seconds=3600)
    created = int(clock().timestamp())
    expected = {
        "active": True, "scope": "read write", "client_id": key.id, "sub": org.id, "token_type": "Bearer",
        "iat": created, "exp": created + 3600,
    }  # fmt: skip
    for headers, form in (
        (basic(asker), {"token_type_hint": "access_token"}),
        (basic(asker, "any%20id"), {}),
        ({}, {"client_id": "orders", "client_secret": asker}),
        (bearer(asker), {"client_id": "orders"}),
        (api_key(asker), {}),
        ({"X-API-Key": asker}, {}),
        (basic(asker), {"client_secret": asker}),
    ):
        assert answer(introspect(client, headers, token=text, **form)) == expected
    for other in ("x", world.key(world.org())[1], world.token(world.owner_of(org)), f"{text} x"):
        assert answer(introspect(client, basic(asker), token=other)) == {"active": False}
    end(world, key.id, DELETE)
    assert answer(introspect(client, basic(asker), token=text)) == {"active": False}
    refused = introspect(client, basic(asker, "x"), token="")
    assert (refused.status_code, refused.get_json()["error"]) == (400, "invalid_request")


@pytest.mark.fault
def test_a_bad_client_is_told_so_as_in_rfc_6749(
    client: SeparateClient, world: World, org: Organization, asker: str
) -> None:
    (dead, over), (_, writer) = world.key(org), world.key(org, Scope.WRITE)
    end(world, dead.id, DELETE)
    for headers in (
        {}, basic(""), basic("x"), basic(over), basic(writer), {"Authorization": "Basic ??"},
        {"Authorization": "Basic"}, {"Authorization": "Digest x"}, bearer(over),
        basic(world.token(world.owner_of(org))),
    ):  # fmt: skip
        refused = introspect(client, headers, token=asker)
        assert (refused.status_code, refused.get_json()["error"]) == (401, "invalid_client"), headers
        assert refused.headers["WWW-Authenticate"] == 'Basic realm="mushu", Bearer realm="mushu"'
        assert DESCRIPTION.fullmatch(refused.get_json()["error_description"]), headers
    sent_as_json = client.post("/oauth/introspect", json={"token": asker}, headers=basic(asker))
    assert "x-www-form-urlencoded" in sent_as_json.get_json()["error_description"]
    for headers, data in ((basic(asker), f"token=x&client_secret={writer}"), (basic(asker), "token=x&token=y")):
        refused = client.post("/oauth/introspect", data=data, content_type=FORM, headers=headers)
        assert (refused.status_code, refused.get_json()["error"]) == (400, "invalid_request")


@pytest.mark.usefixtures("on_both_ways")
def test_what_cannot_be_decided_never_says_that_a_good_key_is_bad(
    client: SeparateClient, world: World, org: Organization, asker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (
        OperationalError("SELECT", {}, Exception("disk I/O error")),
        DatabaseError("SELECT", {}, Exception("database disk image is malformed")),
    ):
        monkeypatch.setattr("mushu.server.read_connections.ReadConnections.fetch", Mock(side_effect=error))
        for asked in (
            introspect(client, basic(asker), token=asker),
            client.post("/api-keys/verify", json={"key": asker}, headers=api_key(asker)),
        ):
            refusal(asked, 503, "database_unavailable")


@pytest.mark.usefixtures("on_both_ways")
def test_both_keys_are_counted_once(app: Flask, client: SeparateClient, world: World, org: Organization) -> None:
    (mine, asker), (key, text) = world.key(org), world.key(org)
    verify(client, asker, keys=[text, "x"], client_address="2001:db8::1")
    introspect(client, basic(asker), token=text)
    verify(client, asker, keys=[text], scope="admin")
    verify(client, world.key(world.org())[1], keys=[text])  # a stranger's question is none
    end(world, key.id, DELETE)
    verify(client, asker, keys=[text])
    recorder_of(app).flush()
    with writing(db.session):
        uses = uses_of(db.session, [mine.id, key.id])
        usage = usage_of(db.session, world.clock(), get_key(db.session, key.id))
    assert (uses[mine.id].requests, uses[mine.id].last_used_from) == (4, "127.0.0.1")
    assert (uses[key.id].requests, uses[key.id].last_used_from) == (3, "unknown")
    assert {row.reason: row.denials for row in usage.reasons} == {"missing_scope": 1, "deleted_credential": 1}
