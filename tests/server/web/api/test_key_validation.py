"""A service asks whether a key that it was sent is good, and learns what the key itself would have told it."""

import pytest

from mushu.environment import Environment
from mushu.keyformat import Prefix, generate
from mushu.server.keys import Scope
from mushu.server.keys.states import State
from mushu.server.web.extensions import recorder_of
from tests.server.conftest import api_key, bearer
from tests.server.web.api.test_keys import put_into
from tests.server.web.asking import all_rows, answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

PATHS = {Environment.LIVE: "/api-keys/validate", Environment.TEST: "/sandbox/api-keys/validate"}
UNKNOWN = generate(Prefix.LIVE_KEY).reveal()
MISTYPED = UNKNOWN[:-1] + ("a" if UNKNOWN[-1] != "a" else "b")


def validated(house: House, key: str, environment: Environment = Environment.LIVE) -> dict[str, object]:
    return answer(house.client.post(PATHS[environment], json={"key": key}))


@pytest.mark.usefixtures("on_both_ways")
@pytest.mark.parametrize("environment", Environment)
def test_it_works(house: House, stage: Stage, environment: Environment) -> None:
    row, key = house.world.key(stage.organization, environment=environment)
    assert validated(house, key, environment) == {
        "valid": True,
        "key_id": row.id,
        "org_id": stage.org,
        "environment": environment,
        "scope": "write",
        "scopes": ["read", "write"],
        "error": None,
    }


@pytest.mark.parametrize(
    ("scopes", "highest"),
    [("read", "read"), ("read write", "write"), ("read write admin", "admin"), ("read admin", "read"), ("write", None),
     ("admin", None), ("write admin", None)],
)  # fmt: skip
def test_the_one_scope_that_is_told_claims_nothing_that_the_key_may_not_do(
    house: House, stage: Stage, scopes: str, highest: str | None
) -> None:
    key = house.world.key(stage.organization, *(Scope(name) for name in scopes.split()))[1]
    found = validated(house, key)
    assert (found["scope"], found["scopes"]) == (highest, scopes.split())


@pytest.mark.parametrize(
    "state", [State.PENDING, State.DISABLED, State.REVOKED, State.FAILED, "expired", "unknown", "mistyped", "token"]
)
def test_a_key_that_is_not_good_is_refused_in_the_words_that_the_key_itself_would_hear(
    house: House, stage: Stage, state: State | str
) -> None:
    row, key = house.world.key(stage.organization, lives_seconds=60 if state == "expired" else None)
    match state:
        case State():
            put_into(house.world, row.id, state)
        case "expired":
            house.clock.turn(seconds=61)
        case "unknown":
            key = UNKNOWN
        case "mistyped":
            key = MISTYPED
        case "token":
            key = house.world.token(stage.owner)
    told = house.client.get("/orgs", headers={"X-API-Key": key})
    assert told.status_code == 401
    found = validated(house, key)
    said = found.pop("error")
    if state == "token":  # whatever it is sent as
        assert str(said).startswith("This credential is a CLI token, and only API keys pass. ")
    else:
        assert said == told.get_json()["detail"]
    assert found.pop("valid") is False
    assert set(found.values()) == {None}


@pytest.mark.parametrize("environment", Environment)
def test_a_key_of_the_other_environment_is_not_good_here(house: House, stage: Stage, environment: Environment) -> None:
    other = Environment.TEST if environment is Environment.LIVE else Environment.LIVE
    key = house.world.key(stage.organization, environment=other)[1]
    told = house.client.get("/orgs" if environment is Environment.LIVE else "/sandbox/orgs", headers=api_key(key))
    found = validated(house, key, environment)
    assert (found["valid"], found["error"]) == (False, told.get_json()["detail"])
    assert found["org_id"] is None


@pytest.mark.parametrize("key", ["", " ", "msk_live_", "x" * 1_000, "é", "\x00"])
def test_what_is_no_key_at_all_is_not_good(house: House, key: str) -> None:
    found = validated(house, key)
    assert found["valid"] is False
    assert str(found["error"]).endswith(".")


@pytest.mark.parametrize("body", [{}, {"key": None}, {"key": 7}, {"key": ["k"]}, {"key": "x" * 1_001}, {"token": "x"}])
def test_a_body_of_another_form_is_refused_and_not_repeated(house: House, body: object) -> None:
    told = refusal(house.client.post(PATHS[Environment.LIVE], json=body), 422, "invalid_input")
    assert "xxxx" not in str(told)


def test_a_key_of_a_deleted_organization_is_not_good_on_the_next_request(house: House, stage: Stage) -> None:
    key = house.world.key(stage.organization)[1]
    headers = bearer(house.world.token(stage.owner))
    assert validated(house, key)["valid"] is True
    assert house.client.delete(f"/orgs/{stage.org}", headers=headers).status_code == 200
    assert validated(house, key)["valid"] is False


def test_asking_changes_nothing_and_is_no_use_of_the_key(house: House, stage: Stage) -> None:
    key = house.world.key(stage.organization)[1]
    recorder_of(house.app).flush()
    before = all_rows()
    for asked in (key, UNKNOWN, MISTYPED):
        validated(house, asked)
    recorder_of(house.app).flush()
    assert all_rows() == before
