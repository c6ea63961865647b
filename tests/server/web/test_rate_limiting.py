"""Limits and networks hold wherever a key is used, each request counts once, and a broken limiter lets none pass."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.config import Settings
from mushu.server.core import context_for, db
from mushu.server.db import reading, writing
from mushu.server.errors import WrongNetwork
from mushu.server.gate.policies import OverLimit, PolicyRequest, add_policy, limit_policy
from mushu.server.keys import Scope, parse_networks
from mushu.server.keys.rotation import RotationRequest, Terms
from mushu.server.keys.service import get_key, restrict_key
from mushu.server.lifecycle.change import restrict
from mushu.server.lifecycle.context import DeliveryChoice, DeliveryMode
from mushu.server.lifecycle.rotate import rotate
from mushu.server.orgs.models import Organization
from mushu.server.orgs.service import get_org, limit_org
from mushu.server.rate_limits import parse_limits
from mushu.server.usage.report import usage_of
from mushu.server.users.service import add_operator, get_user
from mushu.server.web.extensions import recorder_of
from mushu.server.web.problems import on_undecided
from tests.conftest import TurnableClock
from tests.server.conftest import World, api_key, bearer
from tests.server.verbs import show_successor
from tests.server.web.asking import SeparateClient, answer, refusal

#: One member of a list of structured fields (RFC 9651, section 3.1): a string with integers as parameters.
MEMBER = re.compile(r'"(?P<name>[ -!#-\[\]-~]*)"(?P<parameters>(?:;[a-z*][a-z0-9_.*-]*=-?[0-9]{1,15})*)')
FORM = "application/x-www-form-urlencoded"


def field(text: str) -> dict[str, dict[str, int]]:
    """Return the members of a list of structured fields, with their parameters."""
    found = {}
    for member in re.split(r"[ \t]*,[ \t]*", text):
        read = MEMBER.fullmatch(member)
        assert read is not None, text
        pairs = (pair.split("=") for pair in read["parameters"].split(";")[1:])
        found[read["name"]] = {name: int(value) for name, value in pairs}
    return found


def told(response: TestResponse) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    return field(response.headers["RateLimit-Policy"]), field(response.headers["RateLimit"])


def left(response: TestResponse) -> dict[str, int]:
    return {name: numbers["r"] for name, numbers in told(response)[1].items()}


@pytest.fixture
def org(world: World) -> Organization:
    return world.org()


def limited(world: World, org: Organization, *limits: str, networks: Sequence[str] = ()) -> tuple[str, str]:
    """Return the id and the text of a new key with these limits and networks."""
    key, text = world.key(org)
    with writing(db.session):
        found = get_key(db.session, key.id)
        restrict_key(
            db.session, world.clock, SYSTEM, found, limits=parse_limits(limits), networks=parse_networks(networks)
        )
    return key.id, text


def limit(world: World, org: Organization, *limits: str) -> None:
    with writing(db.session):
        limit_org(db.session, world.clock, SYSTEM, get_org(db.session, org.id), parse_limits(limits))


def policy(world: World, org: Organization, name: str, *limits: str, **asked: Any) -> None:
    wanted = PolicyRequest(name=name, scope=Scope.READ, org_id=org.id, limits=parse_limits(limits), **asked)
    with writing(db.session):
        add_policy(db.session, world.clock, SYSTEM, wanted)


def reasons(app: Flask, world: World, key_id: str) -> dict[str, int]:
    recorder_of(app).flush()
    with reading(db.session):
        found = usage_of(db.session, world.clock(), get_key(db.session, key_id))
    return {denied.reason: denied.denials for denied in found.reasons}


def test_the_api_counts_and_tells_what_is_left(
    app: Flask, client: SeparateClient, world: World, org: Organization, clock: TurnableClock
) -> None:
    key_id, text = limited(world, org, "2/minute", "100/total")
    limit(world, org, "1000/day")
    headers, path = api_key(text), f"/orgs/{org.id}"
    first = client.get(path, headers=headers)
    assert answer(first)["limits"] == ["1000/day"]
    assert told(first) == (
        {"minute": {"q": 2, "w": 60}, "total": {"q": 100}, "org-day": {"q": 1000, "w": 86_400}},
        {"minute": {"r": 1, "t": 60}, "total": {"r": 99}, "org-day": {"r": 999, "t": 86_400}},
    )
    # What the gate lets pass counts, also where it then fails; what it refuses does not.
    refusal(client.delete(f"{path}/api-keys/key_x", headers=headers), 403, "missing_scope")
    assert left(client.get(f"{path}?x=1", headers=headers))["minute"] == 0
    clock.turn(seconds=15)
    over = client.get(path, headers=headers)
    assert "Try again in 45 seconds" in refusal(over, 429, "rate_limited")["detail"]
    assert over.headers["Retry-After"] == "45"
    assert left(over) == {"minute": 0, "total": 98, "org-day": 998}
    assert len(over.headers.getlist("RateLimit")) == 1
    clock.turn(seconds=45)
    assert left(client.get(path, headers=headers))["total"] == 97
    assert reasons(app, world, key_id) == {"missing_scope": 1, "rate_limited": 1}
    # Who has no limits is told of none; and a CLI token has none.
    assert "RateLimit" not in client.get(path, headers=bearer(world.token(world.owner_of(org)))).headers


def test_a_key_without_limits_asks_no_store(
    client: SeparateClient, world: World, org: Organization, settings: Settings
) -> None:
    policy(world, org, "reports")
    _, text = world.key(org)
    settings.limits_path.unlink()
    for path in (f"/orgs/{org.id}", "/forward-auth/reports"):
        assert "RateLimit" not in client.get(path, headers=api_key(text)).headers
        assert client.get(path, headers=api_key(text)).status_code == 200


@pytest.mark.parametrize(("over_limit", "status"), [(OverLimit.FORBIDDEN, 403), (OverLimit.TOO_MANY_REQUESTS, 429)])
def test_forward_auth_answers_as_the_policy_says(
    app: Flask, client: SeparateClient, world: World, org: Organization, over_limit: OverLimit, status: int
) -> None:
    policy(world, org, "reports", "3/hour", over_limit=over_limit)
    key_id, text = limited(world, org, "2/hour")
    _, other = world.key(org)
    passed = [client.get("/forward-auth/reports", headers=api_key(text)) for _ in range(3)]
    assert [one.status_code for one in passed] == [200, 200, status]
    assert [left(one)["hour"] for one in passed] == [1, 0, 0]
    assert passed[0].headers["X-Mushu-Key-Id"] == key_id
    assert (passed[2].headers["Retry-After"], passed[2].headers["Cache-Control"]) == ("3600", "no-store")
    assert refusal(passed[2], status, "rate_limited")["status"] == status
    assert left(client.get("/forward-auth/reports", headers=api_key(other))) == {"policy-hour": 0}
    refusal(client.get("/forward-auth/reports", headers=api_key(other)), status, "rate_limited")
    assert reasons(app, world, key_id) == {"rate_limited": 1}
    with writing(db.session):
        limit_policy(db.session, world.clock, SYSTEM, "reports", parse_limits(["4/hour"]))
    assert left(client.get("/forward-auth/reports", headers=api_key(other))) == {"policy-hour": 0}


def test_one_key_counts_the_same_wherever_it_is_used(client: SeparateClient, world: World, org: Organization) -> None:
    policy(world, org, "reports")
    _, text = limited(world, org, "4/total")
    asker = world.key(org, Scope.READ)[1]
    assert client.get(f"/orgs/{org.id}", headers=api_key(text)).status_code == 200
    assert client.get("/forward-auth/reports", headers=api_key(text)).status_code == 200
    assert answer(client.post("/api-keys/validate", json={"key": text}))["valid"] is True
    assert verify(client, asker, key=text)["valid"] is True
    assert answer(introspect(client, asker, text))["active"] is True
    for response in (
        client.get(f"/orgs/{org.id}", headers=api_key(text)),
        introspect(client, asker, text),
    ):
        assert "its budget of 4 requests in all" in refusal(response, 429, "rate_limited")["detail"]
        assert "Retry-After" not in response.headers
    assert answer(client.post("/api-keys/validate", json={"key": text}))["valid"] is True


def verify(client: SeparateClient, asker: str, **asked: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer(client.post("/api-keys/verify", json=asked, headers=api_key(asker)))["results"][0]
    return found


def introspect(client: SeparateClient, asker: str, text: str) -> TestResponse:
    return client.post("/oauth/introspect", data={"token": text}, headers=api_key(asker))


@pytest.mark.parametrize("way", ["the fast path", "the view"])
def test_who_asks_learns_of_limits_and_never_that_the_key_is_dead(
    app: Flask, client: SeparateClient, world: World, org: Organization, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "the view":
        monkeypatch.setattr("mushu.server.web.fast_path.whole_json", Mock(side_effect=ValueError))
        monkeypatch.setattr("mushu.server.web.fast_path.whole_form", Mock(side_effect=ValueError))
    key_id, text = limited(world, org, "2/minute")
    asker_id, asker = limited(world, org, "9/minute")
    asker = asker if way == "the view" else world.key(org, Scope.READ)[1]
    assert verify(client, asker, key=text, scope="admin")["code"] == "missing_scope"  # and is not counted
    assert verify(client, asker, key=text)["valid"] is True
    assert answer(introspect(client, asker, text))["active"] is True
    over = verify(client, asker, key=text)
    assert {name: over[name] for name in ("valid", "state", "code", "retry_after")} == {
        "valid": False, "state": "active", "code": "rate_limited", "retry_after": 60,
    }  # fmt: skip
    refused = introspect(client, asker, text)
    refusal(refused, 429, "rate_limited")
    assert refused.headers["Retry-After"] == "60"
    assert left(refused)["minute"] == 0
    assert reasons(app, world, key_id) == {"missing_scope": 1, "rate_limited": 2}
    if way == "the view":
        assert client.get(f"/orgs/{org.id}", headers=api_key(asker)).headers["RateLimit"] == '"minute";r=3;t=60'
        recorder_of(app).flush()
        with reading(db.session):
            use = usage_of(db.session, world.clock(), get_key(db.session, asker_id)).use
        assert use is not None
        assert use.requests == 6


def uses(world: World, key_id: str) -> int:
    with reading(db.session):
        use = usage_of(db.session, world.clock(), get_key(db.session, key_id)).use
    return use.requests if use is not None else 0


@pytest.mark.fault
def test_what_is_refused_for_its_network_does_not_end_the_key_that_a_rotation_replaces(
    app: Flask, client: SeparateClient, world: World, org: Organization
) -> None:
    """The new key was seen in use wherever somebody tried it, and services that had not loaded it were refused."""
    policy(world, org, "reports")
    old, _ = limited(world, org, networks=["192.0.2.0/24"])
    minted = show_successor(context_for(SYSTEM), old, Terms())
    new, asker = minted.secret.reveal() if minted.secret is not None else "", world.key(org, Scope.READ)[1]
    elsewhere = {"REMOTE_ADDR": "198.51.100.7"}
    for path in (f"/orgs/{org.id}", "/forward-auth/reports"):
        refusal(client.get(path, headers=api_key(new), environ_base=elsewhere), 403, "wrong_network")
    assert verify(client, asker, key=new, client_address="198.51.100.7")["code"] == "wrong_network"
    recorder_of(app).flush()
    with reading(db.session):
        assert get_key(db.session, old).retires_at is None
    client.get("/forward-auth/reports", headers=api_key(new), environ_base={"REMOTE_ADDR": "192.0.2.7"})
    recorder_of(app).flush()
    with reading(db.session):
        assert get_key(db.session, old).retires_at is not None


@pytest.mark.fault
def test_test_keys_use_up_nothing_of_what_an_organization_has_for_its_live_keys(
    client: SeparateClient, world: World, org: Organization
) -> None:
    """They were counted in one window, so a test that ran wild had the keys of production refused."""
    limit(world, org, "2/day")
    live, test = world.key(org)[1], world.key(org, environment=Environment.TEST)[1]
    for _ in range(2):
        assert client.get(f"/sandbox/orgs/{org.id}", headers=api_key(test)).status_code == 200
    refusal(client.get(f"/sandbox/orgs/{org.id}", headers=api_key(test)), 429, "rate_limited")
    assert left(client.get(f"/orgs/{org.id}", headers=api_key(live))) == {"org-day": 1}


@pytest.mark.fault
def test_keys_that_are_asked_about_together_are_counted_together_or_not_at_all(
    client: SeparateClient, world: World, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store counted key by key: where it failed on the way, those before it were counted again by the next try."""
    keys, asker = [limited(world, org, "2/total")[1] for _ in range(3)], world.key(org, Scope.READ)[1]
    many = {"keys": [keys[0], "msk_live_x", keys[1], keys[1], keys[2], keys[1]]}

    def ask() -> TestResponse:
        return client.post("/api-keys/verify", json=many, headers=api_key(asker))

    failing = [*[(0, None)] * 3, OSError("no space")]  # for the fast path, and for the view that is asked then
    counted = Mock(side_effect=failing * 2)
    with monkeypatch.context() as patch:
        patch.setattr("mushu.server.limit_stores._counted", counted)
        refusal(ask(), 503, "limiter_unavailable")
    assert counted.call_count == 8
    assert [found.get("code") for found in answer(ask())["results"]] == [
        None, "malformed_credential", None, None, None, "rate_limited",
    ]  # fmt: skip
    last = verify(client, asker, keys=keys), verify(client, asker, key=keys[0])
    assert [found.get("code") for found in last] == [None, "rate_limited"]


def test_a_key_is_good_in_its_networks_only(
    app: Flask, client: SeparateClient, world: World, org: Organization, clock: TurnableClock
) -> None:
    policy(world, org, "reports")
    key_id, text = limited(world, org, networks=["192.0.2.0/24", "2001:db8::/32"])
    asker = world.key(org, Scope.READ)[1]
    headers, path = api_key(text), f"/orgs/{org.id}"
    inside = ("192.0.2.7", "::ffff:192.0.2.7", "2001:DB8::1")
    for address, good in [*((address, True) for address in inside), ("192.0.3.7", False), ("2001:db9::1", False)]:
        environ = {"REMOTE_ADDR": address}
        for response in (
            client.get(path, headers=headers, environ_base=environ),
            client.get("/forward-auth/reports", headers=headers, environ_base=environ),
        ):
            if good:
                assert response.status_code == 200
            else:
                assert address in refusal(response, 403, "wrong_network")["detail"]
        validated = answer(client.post("/api-keys/validate", json={"key": text}, environ_base=environ))
        assert validated["valid"] is good
        assert verify(client, asker, key=text, client_address=address)["valid"] is good
    for forged in ("X-Forwarded-For", "Forwarded", "X-Real-Ip", "Client-Ip"):
        refused = client.get(path, headers=headers | {forged: "192.0.2.7"}, environ_base={"REMOTE_ADDR": "192.0.3.7"})
        refusal(refused, 403, "wrong_network")
    refusal(client.get(path, headers=headers, environ_base={"REMOTE_ADDR": ""}), 403, "wrong_network")
    refusal(
        client.get("/forward-auth/reports", headers=headers, environ_base={"REMOTE_ADDR": "x"}), 403, "wrong_network"
    )
    unknown = verify(client, asker, key=text)
    assert {unknown["valid"], unknown["state"], unknown["code"]} == {False, "active", "wrong_network"}
    assert answer(introspect(client, asker, text)) == {"active": False}
    assert set(reasons(app, world, key_id)) == {"wrong_network"}
    assert uses(world, key_id) == 3 * len(inside)
    # An asker in a wrong network is no client of ours.
    assert introspect(client, text, text).get_json()["error"] == "invalid_client"


def test_limits_and_networks_are_given_over_http_changed_and_taken_back(
    client: SeparateClient, world: World, org: Organization
) -> None:
    owner = world.owner_of(org)
    with writing(db.session):
        add_operator(db.session, world.clock, SYSTEM, get_user(db.session, owner.id))
    headers, path = bearer(world.token(owner)), f"/orgs/{org.id}/api-keys"
    asked = {"name": "k", "limits": ["9/total", "1/second"], "networks": ["10.0.0.0/8"]}
    made = answer(client.post(path, json=asked, headers=headers))
    assert (made["limits"], made["networks"]) == (["1/second", "9/total"], ["10.0.0.0/8"])
    one = f"{path}/{made['key_id']}"
    for change, limits, networks in (
        ({"limits": ["5/day"]}, ["5/day"], ["10.0.0.0/8"]),
        ({"networks": None}, ["5/day"], None),
        ({"limits": [], "networks": ["::1"]}, None, ["::1/128"]),
    ):
        changed = answer(client.patch(f"{one}/restrictions", json=change, headers=headers))
        assert (changed.get("limits"), changed.get("networks")) == (limits, networks)
        assert answer(client.get(one, headers=headers)) == changed
    for wrong in ({}, {"limits": ["0/day"]}, {"limits": "1/day"}, {"limits": [1]}, {"networks": ["10.0.0.1/8"]},
                  {"limits": ["1/day"] * 11}, {"networks": ["::/0"] * 51}, {"quota": 1}):  # fmt: skip
        refusal(client.patch(f"{one}/restrictions", json=wrong, headers=headers), 422, "invalid_input")
    wanted = {"name": "p", "org_id": org.id, "scope": "read", "limits": ["5/day"], "over_limit": 429}
    added = answer(client.post("/policies", json=wanted, headers=headers))
    assert (added["limits"], added["over_limit"]) == (["5/day"], 429)
    changed = answer(client.patch("/policies/p", json={"limits": ["6/day"], "over_limit": 403}, headers=headers))
    assert (changed["limits"], changed["over_limit"]) == (["6/day"], 403)
    assert "limits" not in answer(client.patch("/policies/p", json={"limits": None}, headers=headers))
    for wrong in ({}, {"over_limit": 200}, {"limits": ["1/day", "2/day"]}):
        refusal(client.patch("/policies/p", json=wrong, headers=headers), 422, "invalid_input")


def test_a_network_that_is_taken_away_in_between_ends_a_write(
    client: SeparateClient, world: World, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, text = world.key(org, Scope.ADMIN)
    assert text
    original = restrict

    def meanwhile(*arguments: Any, **named: Any) -> Any:
        with db.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE api_keys SET networks = '192.0.2.0/24' WHERE id = '{key.id}'")
        return original(*arguments, **named)

    monkeypatch.setattr("mushu.server.web.api.keys.restrict", meanwhile)
    asked = client.patch(f"/orgs/{org.id}/api-keys/{key.id}/restrictions", json={"limits": []}, headers=api_key(text))
    refusal(asked, 403, WrongNetwork.code)


def test_a_limiter_that_is_taken_away_or_damaged_answers_503_and_calls_no_key_bad(
    client: SeparateClient, world: World, org: Organization, settings: Settings
) -> None:
    policy(world, org, "reports")
    _, text = limited(world, org, "100/total")
    asker = world.key(org, Scope.READ)[1]

    def asked() -> list[TestResponse]:
        return [
            client.get(f"/orgs/{org.id}", headers=api_key(text)),
            client.get("/forward-auth/reports", headers=api_key(text)),
            client.post("/api-keys/verify", json={"keys": [text]}, headers=api_key(asker)),
            introspect(client, asker, text),
        ]

    assert [response.status_code for response in asked()] == [200] * 4
    path = settings.limits_path

    def assert_undecided() -> None:
        for response in asked():
            assert "flask doctor" in refusal(response, 503, "limiter_unavailable")["detail"]

    kept = path.rename(path.with_suffix(".kept"))
    assert_undecided()
    kept.rename(path)
    assert left(client.get("/forward-auth/reports", headers=api_key(text)))["total"] == 95
    path.with_suffix(".broken").write_bytes(b"no database" * 1_000)
    path.with_suffix(".broken").replace(path)
    assert_undecided()


def test_a_server_whose_limiter_cannot_be_made_serves_what_has_no_limits(
    core: Any, world: World, org: Organization, tmp_path: Path
) -> None:
    from tests.server.conftest import quiet_app

    core.settings.limits_path.mkdir()
    app = quiet_app(core)
    _, text = world.key(org)
    assert SeparateClient(app).get(f"/orgs/{org.id}", headers=api_key(text)).status_code == 200
    assert on_undecided(ValueError("x")).get_json()["code"] == "undecided"


def test_a_key_that_takes_the_place_of_another_has_its_limits_and_counts_anew(
    client: SeparateClient, world: World, org: Organization
) -> None:
    key_id, text = limited(world, org, "1/total", networks=["127.0.0.0/8"])
    assert client.get(f"/orgs/{org.id}", headers=api_key(text)).status_code == 200
    minted = rotate(
        context_for(SYSTEM), RotationRequest(key_id=key_id, terms=Terms()), DeliveryChoice(mode=DeliveryMode.RESPONSE)
    )
    assert minted.secret is not None
    assert (minted.key.limits, minted.key.networks) == ("1/total", "127.0.0.0/8")
    statuses = [
        client.get(f"/orgs/{org.id}", headers=api_key(one)).status_code for one in (text, minted.secret.reveal())
    ]
    assert statuses == [429, 200]
