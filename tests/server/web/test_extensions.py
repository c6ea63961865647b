"""Which requests are counted, for whom, and where they are said to have come from."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from flask import Flask
from sqlalchemy import select

from mushu.destination import Surroundings, open_destination
from mushu.environment import Environment
from mushu.server.core import Core, db
from mushu.server.db import reading
from mushu.server.keys import Scope
from mushu.server.keys.states import State
from mushu.server.usage import KeyUse, uses_of
from mushu.server.usage.engine import reading_usage
from mushu.server.usage.models import UsageDenial
from mushu.server.web.extensions import recorder_of
from tests.conftest import TurnableClock
from tests.server.conftest import World, api_key, quiet_app, settings_on
from tests.server.web.api.test_keys import keys_of, put_into
from tests.server.web.asking import SeparateClient, answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

FORGED: Final = "203.0.113.66"


def use_of(app: Flask, key_id: str) -> KeyUse | None:
    """Return what is written down of a key, once everything is."""
    recorder_of(app).flush()
    with reading(db.session):
        return uses_of(db.session, [key_id]).get(key_id)


def requests(app: Flask, key_id: str) -> int:
    use = use_of(app, key_id)
    return use.requests if use is not None else 0


def denials(key_id: str) -> dict[str, int]:
    """Return how often a key was refused, by reason."""
    with reading(db.session), reading_usage(db.session) as usage:
        found = usage.scalars(select(UsageDenial).where(UsageDenial.key_id == key_id))
        return {row.reason: row.denials for row in found}


def test_a_request_is_counted_and_shown(house: House, stage: Stage) -> None:
    key, plaintext = house.world.key(stage.organization)
    before = house.clock()
    answer(house.client.get(f"/orgs/{stage.org}", headers=api_key(plaintext)))
    house.clock.turn(minutes=5)
    answer(house.client.get(f"/orgs/{stage.org}", headers={"X-API-Key": plaintext}))
    use = use_of(house.app, key.id)
    assert use is not None
    assert (use.first_used_at, use.last_used_at) == (before, before + timedelta(minutes=5))
    assert (use.last_used_from, use.requests) == ("127.0.0.1", 2)
    shown = answer(house.client.get(f"{keys_of(stage)}/{key.id}", headers=stage.headers))
    assert {"first_used_at", "last_used_at", "last_used_from"} <= set(shown)


def test_a_key_that_was_never_used_says_nothing_of_uses(house: House, stage: Stage) -> None:
    shown = answer(house.client.get(f"{keys_of(stage)}/{stage.key}", headers=stage.headers))
    assert not {"first_used_at", "last_used_at", "last_used_from"} & set(shown)


def test_what_a_key_proves_is_a_use_also_where_it_may_not(house: House, stage: Stage) -> None:
    """Its owner holds it and has loaded it; that is what a rotation waits for."""
    key, plaintext = house.world.key(stage.organization, Scope.READ)
    refusal(house.client.get(keys_of(stage), headers=api_key(plaintext)), 403, "missing_scope")
    assert requests(house.app, key.id) == 1
    test_key, plaintext = house.world.key(stage.organization, environment=Environment.TEST)
    refusal(house.client.get(f"/orgs/{stage.org}", headers=api_key(plaintext)), 403, "wrong_environment")
    assert requests(house.app, test_key.id) == 1
    other = Stage(house.world)
    refusal(house.client.get(f"/orgs/{other.org}", headers=api_key(plaintext)), 404, "org_not_found")
    assert requests(house.app, test_key.id) == 2
    assert (denials(key.id), denials(test_key.id)) == (
        {"missing_scope": 1},
        {"wrong_environment": 1, "org_not_found": 1},
    )


@pytest.mark.parametrize("state", [State.PENDING, State.DISABLED, State.REVOKED, State.FAILED, State.EXPIRED])
def test_a_key_that_opens_nothing_is_not_counted(house: House, stage: Stage, state: State) -> None:
    key, plaintext = house.world.key(stage.organization, lives_seconds=1)
    if state is State.EXPIRED:
        house.clock.turn(seconds=1)
    else:
        put_into(house.world, key.id, state)
    refused = house.client.get(f"/orgs/{stage.org}", headers=api_key(plaintext))
    assert refused.status_code == 401
    assert key.id not in refused.text, "only who may see the key is told its id"
    assert requests(house.app, key.id) == 0
    assert denials(key.id) == {(refused.json or {})["code"]: 1}


def test_users_strangers_and_public_pages_are_not_counted(house: House, stage: Stage) -> None:
    recorder_of(house.app).flush()
    with reading(db.session), reading_usage(db.session) as usage:
        before = usage.query(KeyUse).count()
    answer(house.client.get(f"/orgs/{stage.org}", headers=stage.headers))
    answer(house.client.get("/health"))
    assert house.client.get("/docs").status_code == 200
    refusal(house.client.get("/users/me"), 401, "missing_credential")
    refusal(house.client.get("/users/me", headers=api_key("msk_live_x")), 401, "malformed_credential")
    recorder_of(house.app).flush()
    with reading(db.session), reading_usage(db.session) as usage:
        assert usage.query(KeyUse).count() == before


@contextmanager
def app_behind_a_proxy(folder: Path, template: str | Path, clock: TurnableClock) -> Iterator[tuple[Flask, World]]:
    """Provide an application that is told the client's address in a header."""
    settings = replace(settings_on(folder / "instance", template), client_address_header="Mushuclientip")
    core = Core(settings, clock, lambda uri: open_destination(uri, Surroundings(folder)))
    app = quiet_app(core)
    with app.app_context():
        yield app, World(clock, core)
        db.session.remove()
        db.engine.dispose()


SPELLINGS: Final[dict[str, list[tuple[str, str]]]] = {
    "CVE-2026-39858": [("X-Forwarded-For", "198.51.100.7"), ("X_Forwarded_For", FORGED)],
    "CVE-2015-0219": [("Mushu-Client-Ip", FORGED), ("Mushu_Client_Ip", FORGED), ("Mushu-Clientip", FORGED)],
    "CVE-2026-40575": [("X-Forwarded-Uri", "/"), ("Forwarded", f"for={FORGED}"), ("X-Real-IP", FORGED)],
    "no header": [],
}


@pytest.mark.fault
@pytest.mark.parametrize("headers", SPELLINGS.values(), ids=SPELLINGS)
def test_without_the_named_header_the_address_is_unknown_and_never_that_of_the_peer(
    headers: list[tuple[str, str]], tmp_path: Path, database_template: str | Path, clock: TurnableClock
) -> None:
    with app_behind_a_proxy(tmp_path, database_template, clock) as (app, world):
        org = world.org()
        key, plaintext = world.key(org)
        answer(SeparateClient(app).get(f"/orgs/{org.id}", headers=[*api_key(plaintext).items(), *headers]))
        use = use_of(app, key.id)
        assert use is not None
        assert use.last_used_from == "unknown"


@pytest.mark.fault
def test_the_value_of_the_named_header_is_the_address(
    tmp_path: Path, database_template: str | Path, clock: TurnableClock
) -> None:
    with app_behind_a_proxy(tmp_path, database_template, clock) as (app, world):
        org = world.org()
        for value, expected in {
            "198.51.100.3": "198.51.100.3",
            "2001:DB8:0::1": "2001:db8::1",
            "::ffff:198.51.100.3": "198.51.100.3",
            "198.51.100.3,203.0.113.66": "unknown",
            "198.51.100.3:4711": "unknown",
            "9" * 5_000: "unknown",
        }.items():
            key, plaintext = world.key(org)
            headers = api_key(plaintext) | {"mushuCLIENTip": value}
            answer(SeparateClient(app).get(f"/orgs/{org.id}", headers=headers))
            use = use_of(app, key.id)
            assert use is not None
            assert (use.last_used_from, use.requests) == (expected, 1)


@pytest.mark.parametrize("name", ["Mushuclientip", "X-Forwarded-For", "X_Forwarded_For", "Forwarded", "X-Real-IP"])
def test_without_the_setting_no_header_is_believed(house: House, stage: Stage, name: str) -> None:
    key, plaintext = house.world.key(stage.organization)
    answer(house.client.get(f"/orgs/{stage.org}", headers=api_key(plaintext) | {name: FORGED}))
    use = use_of(house.app, key.id)
    assert use is not None
    assert use.last_used_from == "127.0.0.1"
