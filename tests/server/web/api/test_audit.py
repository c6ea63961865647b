"""The audit trail over HTTP; who may read it is tried by the access matrix."""

import pytest

from mushu.server.audit import Actor, ActorKind, record
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.keys import Scope
from tests.server.conftest import api_key
from tests.server.web.asking import answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import TEST, Stage


def test_it_works(house: House, stage: Stage) -> None:
    org_id = stage.org
    with writing(db.session):
        actor = Actor(ActorKind.OPERATOR, "grace")
        record(db.session, house.clock(), actor, "key.left", "key_x", org_id=org_id, details={"why": "she left"})
    path = f"/orgs/{stage.org}/audit"
    page = answer(house.client.get(f"{path}?limit=1", headers=stage.headers))
    (event,) = page["events"]
    assert event.pop("event_id") > 0
    assert event == {
        "at": "2026-01-15T10:30:00Z", "action": "key.left", "actor_kind": "operator", "actor_id": None,
        "target_id": "key_x", "org_id": stage.org, "details": {"why": "she left"},
    }  # fmt: skip
    rest = answer(house.client.get(f"{path}?cursor={page['next_cursor']}", headers=stage.headers))["events"]
    assert [event["action"] for event in rest] == ["org.created"]
    assert answer(house.client.get(f"/sandbox{path}?action=key.left", headers=stage.headers))["events"]
    assert answer(house.client.get(f"{path}?actor=grace", headers=stage.headers))["events"] == []


def test_a_test_key_cannot_read_what_is_told_of_live(house: House, stage: Stage) -> None:
    _, key = house.world.key(stage.organization, Scope.ADMIN, environment=TEST)
    response = house.client.get(f"/sandbox/orgs/{stage.org}/audit", headers=api_key(key))
    assert "live" in refusal(response, 403, "wrong_environment")["detail"]


@pytest.mark.parametrize("moment", ["yesterday", "1768473000", "2026-01-15T10:30:00", "0001-01-01T00:00:00%2B14:00"])
def test_what_is_no_moment_is_refused(house: House, stage: Stage, moment: str) -> None:
    response = house.client.get(f"/orgs/{stage.org}/audit?since={moment}", headers=stage.headers)
    assert refusal(response, 422, "invalid_input")["errors"][0]["field"] == "since"
