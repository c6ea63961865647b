"""`/forward-auth/NAME` lets pass what its policy lets pass, tells the service who it is, and denies all else."""

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.test import TestResponse

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.core import context_for, db
from mushu.server.db import writing
from mushu.server.errors import StorageUnavailable
from mushu.server.gate.policies import PolicyRequest, add_policy, remove_policy
from mushu.server.keys import Scope
from mushu.server.keys.service import change_state, get_key, rename_key
from mushu.server.keys.states import DELETE
from mushu.server.lifecycle.delete import delete_org
from mushu.server.orgs.models import Organization, Role
from mushu.server.usage import uses_of
from mushu.server.usage.report import usage_of
from mushu.server.web.extensions import recorder_of
from tests.conftest import TurnableClock
from tests.server.conftest import World, api_key, bearer
from tests.server.web.asking import SeparateClient, refusal

TOLD = {"X-Mushu-Org", "X-Mushu-Key-Id", "X-Mushu-Name", "X-Mushu-Scopes", "X-Mushu-Environment", "X-Mushu-Principal"}
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND")

Add = Callable[..., None]


@pytest.fixture
def org(world: World) -> Organization:
    return world.org()


@pytest.fixture
def add(world: World, org: Organization) -> Add:
    def add(name: str, scope: Scope = Scope.READ, **asked: Any) -> None:
        with writing(db.session):
            wanted = {"org_id": None if asked.get("any_org") else org.id} | asked
            add_policy(db.session, world.clock, SYSTEM, PolicyRequest(name=name, scope=scope, **wanted))

    return add


def told(response: TestResponse) -> dict[str, str]:
    """Return the headers of an answer that lets pass: all of them, always."""
    assert response.status_code == 200, response.get_data(as_text=True)
    found = {name: value for name, value in response.headers if name.startswith("X-Mushu-")}
    assert set(found) == TOLD
    assert all(value and value.isascii() for value in found.values())
    assert sum(len(name) + len(value) + 4 for name, value in found.items()) <= 1024
    private(response)
    return found


def private(response: TestResponse) -> None:
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Vary"] == "Authorization, X-API-Key"
    assert len(response.headers["X-Request-Id"]) == 32


def denied(response: TestResponse, status: int, code: str) -> None:
    refusal(response, status, code)
    private(response)
    assert not [name for name, _ in response.headers if name.startswith("X-Mushu-")]
    assert ("WWW-Authenticate" in response.headers) == (status == 401)


def test_a_key_passes_and_the_service_learns_who_it_is(
    client: SeparateClient, world: World, org: Organization, add: Add
) -> None:
    add("reports")
    key, text = world.key(org)
    for headers in (
        api_key(text),
        bearer(text),
        {"X-API-Key": text},
        {"X-API-Key": text, "Authorization": "Basic eA=="},
    ):
        assert told(client.get("/forward-auth/reports", headers=headers)) == {
            "X-Mushu-Org": org.id,
            "X-Mushu-Key-Id": key.id,
            "X-Mushu-Name": "k",
            "X-Mushu-Scopes": "read,write",
            "X-Mushu-Environment": "live",
            "X-Mushu-Principal": key.id,
        }


def test_no_method_path_query_body_or_header_of_a_proxy_changes_the_answer(
    client: SeparateClient, world: World, org: Organization, add: Add
) -> None:
    add("reports")
    add("writes", Scope.ADMIN)
    _, text = world.key(org)
    forged = {
        "Host": "evil.example", "X-Forwarded-Uri": "/forward-auth/writes", "X-Forwarded-Method": "OPTIONS",
        "X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/x", "X-Original-Url": "/health",
        "User-Agent": "GoogleHC/1.0",
    }  # fmt: skip
    for method in METHODS:
        for path in ("", "/", "/writes", "/a/./b", "//", "/..x/%2e", "?policy=writes&scope=admin"):
            for name, status in (("reports", 200), ("writes", 403), ("unknown", 403)):
                for extra in ({}, forged):
                    asked = client.open(
                        f"/forward-auth/{name}{path}", method=method, headers=api_key(text) | extra, data=b"x" * 9
                    )
                    assert asked.status_code == status, (method, name, path)
                    assert method != "HEAD" or asked.data == b""
                    assert client.open(f"/forward-auth/{name}", method=method, headers=extra).status_code in (401, 403)


def test_a_path_that_could_mean_two_things_or_no_policy_denies(
    client: SeparateClient, world: World, org: Organization, add: Add
) -> None:
    add("reports")
    headers = api_key(world.key(org)[1])
    for path in (
        "", "/", "//reports", "/reports/..", "/reports/../writes", "/..", "/../reports", "/reports/x/../y",
        "/reports%2f..%2fx", "/Reports", "/reports%20", "/reports%00", "/.", "/r%C3%A9ports",
    ):  # fmt: skip
        asked = client.get(f"/forward-auth{path}", headers=headers)
        denied(asked, 403, "forbidden" if ".." in path else "policy_refused")


def test_what_merely_looks_like_it_is_not_it(client: SeparateClient, world: World, org: Organization, add: Add) -> None:
    add("reports", environment=Environment.TEST)
    headers = api_key(world.key(org, environment=Environment.TEST)[1])
    for path in ("/forward-authority/reports", "/sandbox/forward-auth/reports", "//forward-auth/reports"):
        refusal(client.get(path, headers=headers), 404, "not_found")


def test_who_does_not_pass_is_told_why(client: SeparateClient, world: World, org: Organization, add: Add) -> None:
    add("reports")
    add("tests", environment=Environment.TEST)
    add("admins", Scope.ADMIN)
    (row, text), (_, other) = world.key(org), world.key(org)
    _, test = world.key(org, environment=Environment.TEST)
    _, foreign = world.key(world.org())
    for name, headers, status, code in (
        ("reports", {}, 401, "missing_credential"),
        ("reports", {"Authorization": "Basic eDp5"}, 401, "malformed_credential"),
        ("reports", {"X-API-Key": f"{text},{text}"}, 401, "malformed_credential"),
        ("reports", api_key(text[:-1] + ("a" if text[-1] != "a" else "b")), 401, "mistyped_credential"),
        ("reports", api_key(text) | {"X-API-Key": other}, 401, "ambiguous_credential"),
        ("reports", api_key(test), 403, "wrong_environment"),
        ("tests", api_key(text), 403, "wrong_environment"),
        ("reports", api_key(foreign), 403, "policy_refused"),
        ("admins", api_key(text), 403, "missing_scope"),
        ("unknown", api_key(text), 403, "policy_refused"),
        ("unknown", {}, 403, "policy_refused"),
        ("reports", bearer(world.token(world.owner_of(org))), 403, "policy_refused"),
    ):
        denied(client.get(f"/forward-auth/{name}", headers=headers), status, code)
    assert told(client.get("/forward-auth/reports", headers=api_key(text)))
    with writing(db.session):
        change_state(db.session, world.clock, SYSTEM, row.id, DELETE)
    denied(client.get("/forward-auth/reports", headers=api_key(text)), 401, "deleted_credential")


def test_cli_tokens_and_other_organizations_pass_only_where_the_policy_says_so(
    client: SeparateClient, world: World, org: Organization, add: Add
) -> None:
    add("people", Scope.WRITE, cli_tokens=True)
    add("admins", Scope.ADMIN, cli_tokens=True)
    add("all", any_org=True)
    member, elsewhere = world.member(org, Role.MEMBER), world.org()
    headers = bearer(world.token(member))
    found = told(client.get("/forward-auth/people", headers=headers))
    assert (found["X-Mushu-Principal"], found["X-Mushu-Org"]) == (member.id, org.id)
    assert (found["X-Mushu-Key-Id"], found["X-Mushu-Name"]) == ("-", "-")
    assert found["X-Mushu-Scopes"] == "read,write"
    denied(client.get("/forward-auth/admins", headers=headers), 403, "missing_scope")
    denied(client.get("/forward-auth/all", headers=headers), 403, "policy_refused")
    stranger = bearer(world.token(world.owner_of(elsewhere)))
    denied(client.get("/forward-auth/people", headers=stranger), 403, "policy_refused")
    _, foreign = world.key(elsewhere)
    assert told(client.get("/forward-auth/all", headers=api_key(foreign)))["X-Mushu-Org"] == elsewhere.id
    world.clock.turn(hours=12)  # type: ignore[attr-defined]
    denied(client.get("/forward-auth/people", headers=headers), 401, "expired_credential")


def test_it_is_never_late(
    client: SeparateClient, world: World, org: Organization, add: Add, clock: TurnableClock
) -> None:
    add("reports")
    add("mine")
    headers = api_key(world.key(org, lives_seconds=60)[1])
    for name in ("reports", "mine"):
        assert told(client.get(f"/forward-auth/{name}", headers=headers))
    with writing(db.session):
        remove_policy(db.session, clock, SYSTEM, "mine")
    denied(client.get("/forward-auth/mine", headers=headers), 403, "policy_refused")
    clock.turn(seconds=59)
    assert told(client.get("/forward-auth/reports", headers=headers))
    clock.turn(seconds=1)
    denied(client.get("/forward-auth/reports", headers=headers), 401, "expired_credential")
    headers = api_key(world.key(org)[1])
    assert told(client.get("/forward-auth/reports", headers=headers))
    delete_org(context_for(SYSTEM), org.id, ())
    denied(client.get("/forward-auth/reports", headers=headers), 401, "deleted_credential")


def test_two_policies_that_alternate_on_one_key_never_mix(
    client: SeparateClient, world: World, org: Organization, add: Add
) -> None:
    add("reads")
    add("admins", Scope.ADMIN)
    add("tests", environment=Environment.TEST)
    keys = [world.key(org), world.key(org, *Scope), world.key(org, environment=Environment.TEST)]
    expected = {
        (key.id, name): 200 if good else 403
        for key, _ in keys
        for name, good in (
            ("reads", key.environment == "live"),
            ("admins", key.environment == "live" and "admin" in key.scope_names),
            ("tests", key.environment == "test"),
        )
    }
    for _ in range(3):
        for (key, text), name in ((one, name) for name in ("reads", "admins", "tests") for one in keys):
            asked = client.get(f"/forward-auth/{name}", headers=api_key(text))
            assert asked.status_code == expected[key.id, name]
            assert asked.status_code != 200 or told(asked)["X-Mushu-Key-Id"] == key.id


def test_a_name_is_percent_encoded_and_cut_off_where_it_is_long(
    client: SeparateClient, world: World, org: Organization, add: Add
) -> None:
    add("reports")
    key, text = world.key(org)
    for name, header in {"é": "%C3%A9", "-": "%2D", "a b,c": "a%20b%2Cc", "☕" * 200: "%E2%98%95" * 56}.items():
        with writing(db.session):
            rename_key(db.session, world.clock, SYSTEM, get_key(db.session, key.id), name)
        assert told(client.get("/forward-auth/reports", headers=api_key(text)))["X-Mushu-Name"] == header


def test_what_cannot_be_decided_is_503(
    client: SeparateClient, world: World, org: Organization, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("reports")
    _, text = world.key(org)
    for error, code in {
        OperationalError("SELECT", {}, Exception("disk I/O error")): "database_unavailable",
        DatabaseError("SELECT", {}, Exception("database disk image is malformed")): "database_unavailable",
        PoolTimeout("no connection"): "busy",
        StorageUnavailable("Something else."): "undecided",
        ZeroDivisionError(): "undecided",
    }.items():
        monkeypatch.setattr("mushu.server.read_connections.ReadConnections.fetch", Mock(side_effect=error))
        denied(client.get("/forward-auth/reports", headers=api_key(text)), 503, code)
        denied(client.get("/forward-auth/reports"), 503, code)


def test_a_use_is_counted_also_where_it_is_refused(
    app: Flask, client: SeparateClient, world: World, org: Organization, add: Add
) -> None:
    add("reports")
    add("admins", Scope.ADMIN)
    key, text = world.key(org)
    for name in ("reports", "admins", "reports", "unknown"):
        client.get(f"/forward-auth/{name}", headers=api_key(text))
    with writing(db.session):
        change_state(db.session, world.clock, SYSTEM, key.id, DELETE)
    client.get("/forward-auth/reports", headers=api_key(text))
    recorder_of(app).flush()
    with writing(db.session):
        use = uses_of(db.session, [key.id])[key.id]
        usage = usage_of(db.session, world.clock(), get_key(db.session, key.id))
    assert (use.requests, use.last_used_from) == (3, "127.0.0.1")
    assert {row.reason: row.denials for row in usage.reasons} == {"missing_scope": 1, "deleted_credential": 1}


@pytest.mark.sqlite
@pytest.mark.parametrize("stamped", [True, False])
def test_a_database_that_is_taken_away_makes_no_good_key_a_bad_one(
    app: Flask, client: SeparateClient, world: World, org: Organization, add: Add, monkeypatch: pytest.MonkeyPatch,
    stamped: bool,
) -> None:  # fmt: skip
    """Also where there is no wal-index, and each request reads."""
    if not stamped:
        monkeypatch.setattr("mushu.server.gate.cache.WalStamp", Mock(side_effect=OSError))
    add("reports")
    headers = api_key(world.key(org)[1])
    text = headers["Authorization"].removeprefix("ApiKey ")
    assert told(client.get("/forward-auth/reports", headers=headers))
    db.session.remove()
    for file in world.core.settings.instance_path.glob("mushu.sqlite3*"):
        file.unlink()
    db.engine.dispose()
    for _ in range(2):
        denied(client.get("/forward-auth/reports", headers=headers), 503, "database_unavailable")
        for asked in (
            client.post("/api-keys/verify", json={"key": text}, headers=headers),
            client.post("/oauth/introspect", data={"token": text}, headers=headers),
        ):
            assert "flask doctor" in refusal(asked, 503, "database_unavailable")["detail"]
