"""The usage of a key over HTTP: what it did, what was refused to it, and what is unusual."""

from dataclasses import fields

from mushu.server.figures import KeyCounts
from mushu.server.keys import Scope
from mushu.server.web.api.key_list_models import KeySummary
from mushu.server.web.extensions import recorder_of
from tests.server.conftest import api_key
from tests.server.web.api.test_keys import keys_of
from tests.server.web.asking import answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage


def test_requests_denials_and_addresses_of_a_key_are_shown_also_after_its_end(house: House, stage: Stage) -> None:
    key, plaintext = house.world.key(stage.organization, Scope.READ)
    one, started = f"{keys_of(stage)}/{key.id}", house.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
    never = answer(house.client.get(f"{one}/usage", headers=stage.headers))
    assert (never["requests"], never["denials"], never["addresses"], never["unusual"]) == (0, 0, [], [])
    assert "last_used_at" not in never
    answer(house.client.get(f"/orgs/{stage.org}", headers=api_key(plaintext)))
    refusal(house.client.get(keys_of(stage), headers=api_key(plaintext)), 403, "missing_scope")
    house.clock.turn(hours=2)
    answer(house.client.delete(one, headers=stage.headers))
    refusal(house.client.get(f"/orgs/{stage.org}", headers=api_key(plaintext)), 401, "deleted_credential")
    ended = house.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
    recorder_of(house.app).flush()
    shown = answer(house.client.get(f"{one}/usage", headers=stage.headers))
    assert (shown["requests"], shown["denials"]) == (2, 2)
    assert (shown["last_used_at"], shown["last_denied_at"]) == (started, ended)
    assert shown["addresses"] == [{"address": "127.0.0.1", "last_used_at": started}]
    assert [(row["reason"], row["denials"]) for row in shown["reasons"]] == [
        ("deleted_credential", 1),
        ("missing_scope", 1),
    ]
    assert [(bar["requests"], bar["denials"]) for bar in shown["hours"][-3:]] == [(2, 1), (0, 0), (0, 1)]
    assert (len(shown["hours"]), len(shown["days"])) == (24, 30)
    assert "It is revoked, and is still tried: once" in shown["unusual"][0]


def test_the_list_tells_which_keys_somebody_should_look_at(house: House, stage: Stage) -> None:
    key, plaintext = house.world.key(stage.organization, lives_seconds=3_600)
    answer(house.client.get(f"/orgs/{stage.org}", headers=api_key(plaintext)))
    recorder_of(house.app).flush()

    def found(query: str) -> bool:
        keys = answer(house.client.get(f"{keys_of(stage)}?{query}", headers=stage.headers))["api_keys"]
        return key.id in [row["key_id"] for row in keys]

    shown = {
        query: found(query)
        for query in ("unused=true", "unused=false", "no_expiry=true", "expires_within=2h", "expires_within=30m")
    }
    assert [query for query, is_found in shown.items() if is_found] == ["unused=false", "expires_within=2h"]
    house.clock.turn(minutes=50)
    assert (found("idle=50m"), found("idle=51m")) == (True, False)
    assert not any(map(found, ("drifted=true", "stalled=true", "owner_left=true")))
    refusal(house.client.get(f"{keys_of(stage)}?idle=soon", headers=stage.headers), 422, "invalid_input")


def test_the_summary_has_each_count_and_the_requests() -> None:
    counts = [field.name for field in fields(KeyCounts)]
    assert [*KeySummary.model_fields] == [*counts, "requests", "denials", "hours"]


def test_the_summary_counts_what_the_list_with_the_same_filters_shows(house: House, stage: Stage) -> None:
    key, plaintext = house.world.key(stage.organization)
    house.world.key(stage.organization, lives_seconds=3_600)
    answer(house.client.get(f"/orgs/{stage.org}", headers=api_key(plaintext)))
    refusal(house.client.get(keys_of(stage), headers=api_key(plaintext)), 403, "missing_scope")
    recorder_of(house.app).flush()

    def summary(query: str = "") -> tuple[int, ...]:
        told = answer(house.client.get(f"{keys_of(stage)}/summary?{query}", headers=stage.headers))
        assert sum(bar["requests"] for bar in told["hours"]) == told["requests"]
        return tuple(told[field] for field in ("keys", "unused", "expiring", "no_expiry", "requests", "denials"))

    def listed(query: str) -> list[str]:
        rows = answer(house.client.get(f"{keys_of(stage)}?{query}", headers=stage.headers))["api_keys"]
        return [row["key_id"] for row in rows]

    assert summary() == (2, 1, 1, 1, 2, 1)
    assert summary("unused=true") == (1, 1, 1, 0, 0, 0)
    assert listed("sort=last_used")[0] == listed("sort=expires")[1] == key.id
    for query in (
        f"search={key.last_four}",
        f"search=%E2%80%A6{key.last_four}",
        f"search={key.id[4:]}",
        "used_within=1h",
    ):
        assert listed(query) == [key.id], query
        assert summary(query)[0] == 1
    assert listed(f"created_by={stage.owner.email}") == []
    assert listed("destination=env%3A%2Fsrv%2F.env") == []
    for query, field in (("destination=nowhere", "destination"), (f"search={plaintext}", "search")):
        for path in (keys_of(stage), f"{keys_of(stage)}/summary"):
            told = refusal(house.client.get(f"{path}?{query}", headers=stage.headers), 422, "invalid_input")
            assert told["errors"][0]["field"] == field
            assert plaintext not in str(told)
