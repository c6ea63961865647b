"""Organizations over HTTP."""

import pytest
from sqlalchemy import select

from mushu.environment import Environment
from mushu.server.audit import AuditEvent
from mushu.server.clock import rfc3339
from mushu.server.core import db
from mushu.server.db import reading
from mushu.server.keys import Scope
from mushu.server.orgs.models import Organization, Role
from tests.server.conftest import api_key, bearer
from tests.server.web.asking import answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

BAD_NAMES = ["", " ", "a" * 201, "a\nb", "a\x00b", "a\u202eb", "a" * 1001]


class TestCreate:
    def test_it_works(self, house: House) -> None:
        user = house.world.user()
        headers = bearer(house.world.token(user))
        created = answer(house.client.post("/orgs", json={"name": " acme "}, headers=headers))
        assert created == {
            "org_id": created["org_id"],
            "name": "acme",
            "created_at": rfc3339(house.clock()),
            "created_by": user.id,
        }
        assert created["org_id"].startswith("org_")
        me = answer(house.client.get(f"/orgs/{created['org_id']}/members/me", headers=headers))
        assert me["role"] == "owner"

    @pytest.mark.parametrize("name", [*BAD_NAMES, None, 1, ["x"]])
    def test_a_bad_name_is_refused(self, house: House, name: object) -> None:
        headers = bearer(house.world.token(house.world.user()))
        response = house.client.post("/orgs", json={"name": name}, headers=headers)
        assert refusal(response, 422, "invalid_input")["errors"][0]["field"] == "name"
        assert answer(house.client.get("/orgs", headers=headers)) == {"orgs": [], "next_cursor": None}

    @pytest.mark.fault
    def test_a_user_owns_no_more_than_one_may(self, house: House) -> None:
        user = house.world.user()
        headers = bearer(house.world.token(user))
        made = [answer(house.client.post("/orgs", json={"name": "x"}, headers=headers)) for _ in range(20)]
        refusal(house.client.post("/orgs", json={"name": "x"}, headers=headers), 409, "too_many_orgs")
        answer(house.client.delete(f"/orgs/{made[0]['org_id']}", headers=headers))
        refusal(house.client.post("/orgs", json={"name": "x"}, headers=headers), 409, "too_many_orgs")
        house.clock.turn(days=1)
        headers = bearer(house.world.token(user))
        answer(house.client.post("/orgs", json={"name": "x"}, headers=headers))
        assert len(answer(house.client.get("/orgs", headers=headers))["orgs"]) == 20

    @pytest.mark.fault
    def test_nobody_is_given_more_than_they_may_own(self, house: House, stage: Stage) -> None:
        heir = house.world.member(stage.organization, Role.MEMBER)
        for _ in range(20):
            house.world.org(heir)
        path, body = f"/orgs/{stage.org}/transfer", {"user_id": heir.id}
        refusal(house.client.post(path, json=body, headers=stage.headers), 409, "too_many_orgs")


class TestList:
    def test_it_works(self, house: House) -> None:
        user = house.world.user()
        first = house.world.org(user, "first")
        house.clock.turn(seconds=1)
        second = house.world.org(user, "second")
        house.world.org(name="of somebody else")
        listed = answer(house.client.get("/orgs", headers=bearer(house.world.token(user))))
        assert [org["org_id"] for org in listed["orgs"]] == [first.id, second.id]
        assert list(listed["orgs"][0]) == ["org_id", "name", "created_at", "created_by"]

    def test_a_key_sees_the_one_it_belongs_to(self, house: House, stage: Stage) -> None:
        house.world.org(stage.owner)
        for environment, path in ((Environment.LIVE, "/orgs"), (Environment.TEST, "/sandbox/orgs")):
            _, key = house.world.key(stage.organization, Scope.READ, environment=environment)
            listed = answer(house.client.get(path, headers=api_key(key)))
            assert [org["org_id"] for org in listed["orgs"]] == [stage.org]


def test_one_is_the_same_for_live_and_test(house: House, stage: Stage) -> None:
    org = answer(house.client.get(f"/orgs/{stage.org}", headers=stage.headers))
    assert (org["org_id"], org["name"], org["created_by"]) == (stage.org, "acme", stage.owner.id)
    assert answer(house.client.get(f"/sandbox/orgs/{stage.org}", headers=stage.headers)) == org


def test_an_id_is_compared_and_never_interpreted(house: House, stage: Stage) -> None:
    key = api_key(house.world.key(stage.organization, *Scope)[1])
    for org_id in ("%25", "_", "org_%25", "org_____________", "%00", "*", "0", "-1", "null"):
        for headers in (stage.headers, key):
            assert house.client.get(f"/orgs/{org_id}", headers=headers).status_code in (404, 422)


def test_renaming_works_and_a_key_does_it_in_its_own_name(house: House, stage: Stage) -> None:
    key, plaintext = house.world.key(stage.organization, Scope.ADMIN)
    path = f"/orgs/{stage.org}"
    renamed = answer(house.client.patch(path, json={"name": "other"}, headers=api_key(plaintext)))
    assert renamed["name"] == "other"
    assert answer(house.client.get(path, headers=stage.headers)) == renamed
    with reading(db.session):
        event = db.session.scalars(
            select(AuditEvent).where(AuditEvent.org_id == stage.org, AuditEvent.action == "org.renamed")
        ).one()
    assert (event.actor_kind, event.actor_id, event.details) == ("api_key", key.id, {"from": "acme", "to": "other"})


def test_deleting_ends_it_with_all_its_keys_and_no_others_on_the_next_request(house: House, stage: Stage) -> None:
    keys = [house.world.key(stage.organization, environment=environment)[1] for environment in Environment]
    _, other = house.world.key(house.world.org(stage.owner))
    assert answer(house.client.delete(f"/orgs/{stage.org}", headers=stage.headers)) == {"deleted": True}
    for key, prefix in zip(keys, ("", "/sandbox"), strict=True):
        refusal(house.client.get(f"{prefix}/orgs", headers=api_key(key)), 401, "deleted_credential")
    assert house.client.get("/orgs", headers=api_key(other)).status_code == 200
    refusal(house.client.get(f"/orgs/{stage.org}", headers=stage.headers), 404, "org_not_found")
    with reading(db.session):
        assert db.session.get_one(Organization, stage.org, populate_existing=True).deleted_at == house.clock()
        trail = select(AuditEvent.action).where(AuditEvent.org_id == stage.org).order_by(AuditEvent.id)
        actions = db.session.scalars(trail).all()
    assert (actions[0], actions[-1]) == ("org.created", "org.deleted"), "the trail outlives it"
