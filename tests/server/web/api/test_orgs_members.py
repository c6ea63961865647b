"""Who belongs to an organization, over HTTP."""

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from mushu.server.audit import AuditEvent
from mushu.server.clock import rfc3339
from mushu.server.core import db
from mushu.server.db import reading
from mushu.server.keys import Scope
from mushu.server.orgs.models import Membership, Role
from tests.server.conftest import api_key, bearer
from tests.server.web.asking import answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage


def members_of(stage: Stage) -> str:
    return f"/orgs/{stage.org}/members"


def roles(stage: Stage) -> dict[str, str]:
    with db.engine.connect() as connection:
        found = select(Membership.user_id, Membership.role).where(Membership.org_id == stage.org)
        return {row.user_id: row.role for row in connection.execute(found)}


class TestList:
    def test_it_works(self, house: House, stage: Stage) -> None:
        owner = stage.owner
        house.clock.turn(seconds=1)
        member = house.world.member(stage.organization, Role.MEMBER)
        listed = answer(house.client.get(members_of(stage), headers=stage.headers))["members"]
        assert [(row["user_id"], row["role"], row["email"]) for row in listed] == [
            (owner.id, "owner", owner.email),
            (member.id, "member", member.email),
        ]
        assert list(listed[0]) == ["user_id", "org_id", "role", "joined_at", "email"]
        assert {row["org_id"] for row in listed} == {stage.org}


class TestAdd:
    def test_it_works(self, house: House, stage: Stage) -> None:
        user = house.world.user()
        added = answer(
            house.client.post(members_of(stage), json={"user_id": user.id, "role": "admin"}, headers=stage.headers)
        )
        assert added == {
            "user_id": user.id,
            "org_id": stage.org,
            "role": "admin",
            "joined_at": rfc3339(house.clock()),
            "email": user.email,
        }
        assert answer(house.client.get(f"/orgs/{stage.org}", headers=bearer(house.world.token(user))))

    def test_a_member_is_what_one_becomes_unless_told_otherwise(self, house: House, stage: Stage) -> None:
        added = house.client.post(members_of(stage), json={"user_id": stage.newcomer}, headers=stage.headers)
        assert answer(added)["role"] == "member"

    def test_what_cannot_be_is_refused_and_changes_nobody(self, house: House, stage: Stage) -> None:
        before = {stage.owner.id: "owner", stage.member: "member"}
        for user_id, role, status, code in (
            (stage.newcomer, "owner", 422, "invalid_input"),
            (stage.newcomer, "admin ", 422, "invalid_input"),
            ("usr_aaaaaaaaaaaa", "admin", 404, "user_not_found"),
            (stage.member, "admin", 409, "already_member"),
            (stage.owner.id, "admin", 409, "already_member"),
        ):
            body = {"user_id": user_id, "role": role}
            problem = refusal(house.client.post(members_of(stage), json=body, headers=stage.headers), status, code)
            assert status != 422 or problem["detail"] == "The role must be admin or member."
        assert roles(stage) == before

    def test_a_request_that_was_a_moment_faster_wins(
        self, house: House, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        body = {"user_id": stage.member}
        monkeypatch.setattr("mushu.server.orgs.members.find_member", lambda *_: None)
        response = house.client.post(members_of(stage), json=body, headers=stage.headers)
        refusal(response, 409, "conflict")


class TestMine:
    @pytest.mark.parametrize("role", [Role.ADMIN, Role.MEMBER])
    def test_it_works(self, house: House, stage: Stage, role: Role) -> None:
        user = house.world.member(stage.organization, role)
        mine = answer(house.client.get(f"{members_of(stage)}/me", headers=bearer(house.world.token(user))))
        assert (mine["user_id"], mine["role"]) == (user.id, role)

    @pytest.mark.parametrize("method", ["PATCH", "DELETE"])
    def test_me_is_nobodys_id(self, house: House, stage: Stage, method: str) -> None:
        response = house.client.open(
            f"{members_of(stage)}/me", method=method, json={"role": "admin"}, headers=stage.headers
        )
        refusal(response, 404, "member_not_found")


class TestSetRole:
    @pytest.mark.parametrize("former", [Role.MEMBER, Role.ADMIN])
    def test_to_admin(self, house: House, stage: Stage, former: Role) -> None:
        user_id = house.world.member(stage.organization, former).id
        path = f"{members_of(stage)}/{user_id}"
        assert answer(house.client.patch(path, json={"role": "admin"}, headers=stage.headers))["role"] == "admin"
        assert roles(stage)[user_id] == "admin"

    def test_it_counts_on_the_next_request(self, house: House, stage: Stage) -> None:
        user = house.world.member(stage.organization, Role.ADMIN)
        headers, path = bearer(house.world.token(user)), f"{members_of(stage)}/{user.id}"
        assert house.client.get(f"/orgs/{stage.org}/api-keys", headers=headers).status_code == 200
        assert answer(house.client.patch(path, json={"role": "member"}, headers=stage.headers))["role"] == "member"
        assert roles(stage)[user.id] == "member"
        with reading(db.session):
            event = db.session.scalars(select(AuditEvent).where(AuditEvent.target_id == user.id)).all()[-1]
        assert (event.action, event.details) == ("member.role_set", {"from": "admin", "to": "member"})
        refusal(house.client.get(f"/orgs/{stage.org}/api-keys", headers=headers), 403, "missing_scope")


class TestRemove:
    def test_the_token_of_who_was_removed_opens_nothing_here_and_still_elsewhere(
        self, house: House, stage: Stage
    ) -> None:
        user = house.world.member(stage.organization, Role.ADMIN)
        own, headers = house.world.org(user), bearer(house.world.token(user))
        removed = house.client.delete(f"{members_of(stage)}/{user.id}", headers=stage.headers)
        assert answer(removed) == {"deleted": True}
        assert roles(stage) == {stage.owner.id: "owner"}
        refusal(house.client.get(f"/orgs/{stage.org}", headers=headers), 404, "org_not_found")
        assert house.client.get(f"/orgs/{own.id}", headers=headers).status_code == 200

    def test_who_does_not_belong_is_not_found(self, house: House, stage: Stage) -> None:
        for user_id in (stage.newcomer, "usr_aaaaaaaaaaaa", "%25"):
            response = house.client.delete(f"{members_of(stage)}/{user_id}", headers=stage.headers)
            refusal(response, 404, "member_not_found")


class TestTheOwner:
    @pytest.mark.parametrize(
        ("method", "body"), [("PATCH", {"role": "member"}), ("PATCH", {"role": "admin"}), ("DELETE", None)]
    )
    @pytest.mark.parametrize("who", ["owner", "admin", "key"])
    def test_can_be_moved_by_nobody(
        self, house: House, stage: Stage, method: str, body: dict[str, str] | None, who: str
    ) -> None:
        headers = {
            "owner": lambda: stage.headers,
            "admin": lambda: bearer(house.world.token(house.world.member(stage.organization, Role.ADMIN))),
            "key": lambda: api_key(house.world.key(stage.organization, Scope.ADMIN)[1]),
        }[who]()
        path = f"{members_of(stage)}/{stage.owner.id}"
        refusal(house.client.open(path, method=method, json=body, headers=headers), 409, "owner_immovable")
        assert roles(stage)[stage.owner.id] == "owner"


class TestTransfer:
    def transfer(self, house: House, stage: Stage, user_id: object, headers: dict[str, str]) -> TestResponse:
        return house.client.post(f"/orgs/{stage.org}/transfer", json={"user_id": user_id}, headers=headers)

    def test_it_works(self, house: House, stage: Stage) -> None:
        heir = house.world.member(stage.organization, Role.MEMBER)
        moved = answer(self.transfer(house, stage, heir.id, stage.headers))
        assert (moved["user_id"], moved["role"], moved["email"]) == (heir.id, "owner", heir.email)
        assert roles(stage) == {stage.owner.id: "admin", heir.id: "owner"}

    def test_it_counts_on_the_next_request(self, house: House, stage: Stage) -> None:
        heir = house.world.member(stage.organization, Role.MEMBER)
        headers = bearer(house.world.token(heir))
        assert self.transfer(house, stage, heir.id, stage.headers).status_code == 200
        refusal(house.client.delete(f"/orgs/{stage.org}", headers=stage.headers), 403, "owner_required")
        refusal(self.transfer(house, stage, stage.owner.id, stage.headers), 403, "owner_required")
        assert house.client.get(f"/orgs/{stage.org}/api-keys", headers=stage.headers).status_code == 200
        assert house.client.delete(f"/orgs/{stage.org}", headers=headers).status_code == 200

    @pytest.mark.parametrize("who", ["newcomer", "nobody"])
    def test_only_a_member_can_get_it(self, house: House, stage: Stage, who: str) -> None:
        user_id = stage.newcomer if who == "newcomer" else "usr_aaaaaaaaaaaa"
        refusal(self.transfer(house, stage, user_id, stage.headers), 404, "member_not_found")
        assert roles(stage) == {stage.owner.id: "owner"}

    def test_who_was_the_owner_when_the_guard_looked_and_is_not_any_more_is_refused(
        self, house: House, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        admin = house.world.member(stage.organization, Role.ADMIN)
        monkeypatch.setattr("mushu.server.gate.access._require_owner", lambda *_: None)
        headers = bearer(house.world.token(admin))
        refusal(self.transfer(house, stage, stage.member, headers), 403, "owner_required")
        assert roles(stage)[stage.owner.id] == "owner"
