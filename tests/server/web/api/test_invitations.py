"""Invitations over HTTP."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from mushu.keyformat import Prefix, generate
from mushu.server import logs
from mushu.server.audit import AuditEvent
from mushu.server.clock import rfc3339
from mushu.server.core import db
from mushu.server.db import reading
from mushu.server.orgs.models import Membership, Role
from mushu.server.users.models import User
from tests.server.conftest import bearer
from tests.server.web.asking import answer, execute, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

FIELDS = [
    "invite_id", "org_id", "invite_type", "role", "invite_token", "status", "invited_by", "created_at", "org_name",
    "email", "expires_at",
]  # fmt: skip


def invites_of(stage: Stage) -> str:
    return f"/orgs/{stage.org}/invites"


def invite(house: House, stage: Stage, **body: object) -> dict[str, Any]:
    """Return the answer to an invitation: by e-mail if the body names an address, and else by link."""
    path = f"{invites_of(stage)}/{'email' if 'email' in body else 'link'}"
    return answer(house.client.post(path, json=body, headers=stage.headers))


def listed(house: House, stage: Stage, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer(house.client.get(invites_of(stage) + query, headers=stage.headers))["invites"]
    return found


def role_of(stage: Stage, user: User) -> str | None:
    with db.engine.connect() as connection:
        found = select(Membership.role).where(Membership.org_id == stage.org, Membership.user_id == user.id)
        return connection.execute(found).scalar_one_or_none()


@pytest.fixture
def bob(house: House) -> User:
    return house.world.user()


@pytest.fixture
def bobs(house: House, bob: User) -> dict[str, str]:
    return bearer(house.world.token(bob))


class TestCreateByEmail:
    def test_it_works(self, house: House, stage: Stage) -> None:
        made = invite(house, stage, email="Bob@Example.com", role="admin")
        assert list(made) == FIELDS
        assert made == {
            "invite_id": made["invite_id"],
            "org_id": stage.org,
            "invite_type": "email",
            "role": "admin",
            "invite_token": made["invite_token"],
            "status": "pending",
            "invited_by": stage.owner.id,
            "created_at": rfc3339(house.clock()),
            "org_name": "acme",
            "email": "bob@example.com",
            "expires_at": rfc3339(house.clock() + timedelta(days=7)),
        }
        assert made["invite_id"].startswith("inv_")
        assert made["invite_token"].startswith(Prefix.INVITATION)

    @pytest.mark.parametrize(
        "email", ["", "bob", "@", "a b@example.com", "bob@example.com\x00", "b@" + "x" * 254, None, 1]
    )
    def test_what_is_no_address_is_refused(self, house: House, stage: Stage, email: object) -> None:
        response = house.client.post(f"{invites_of(stage)}/email", json={"email": email}, headers=stage.headers)
        assert refusal(response, 422, "invalid_input")["errors"][0]["field"] == "email"
        assert listed(house, stage) == []


class TestCreateByLink:
    @pytest.mark.parametrize(
        ("given", "days"),
        [({"expires_in_days": 1}, 1), ({}, 7), ({"expires_in_days": None}, 90)],
        ids=["one day", "as it is", "no end, which mushu-cli asks for with --expires 0"],
    )
    def test_it_works(self, house: House, stage: Stage, given: dict[str, object], days: int) -> None:
        made = invite(house, stage, **given)
        assert list(made) == FIELDS
        assert (made["invite_type"], made["email"], made["role"]) == ("link", None, "member")
        assert made["expires_at"] == rfc3339(house.clock() + timedelta(days=days))


@pytest.mark.parametrize("path", ["link", "email"])
class TestTerms:
    def test_are_refused_where_they_cannot_be_offered(self, house: House, stage: Stage, path: str) -> None:
        wrong: list[dict[str, object]] = [{"role": role} for role in ("owner", "", "root", None, ["admin"])]
        wrong += [{"expires_in_days": days} for days in (0, 91, 10**18, 1.5, "7", True)]
        wrong += [{field: "x"} for field in ("invite_token", "org_id", "status", "invited_by", "expires_at")]
        for given in wrong:
            body = given | ({"email": "bob@example.com"} if path == "email" else {})
            response = house.client.post(f"{invites_of(stage)}/{path}", json=body, headers=stage.headers)
            assert refusal(response, 422, "invalid_input")["errors"][0]["field"] == next(iter(given))
        assert listed(house, stage) == []


class TestList:
    def test_it_works_and_never_shows_a_token_again(self, house: House, stage: Stage) -> None:
        first = invite(house, stage, email="bob@example.com")
        house.clock.turn(seconds=1)
        second = invite(house, stage)
        assert listed(house, stage) == [made | {"invite_token": None} for made in (second, first)]

    def test_it_can_be_narrowed_to_a_status(self, house: House, stage: Stage, bobs: dict[str, str]) -> None:
        made = {status: invite(house, stage) for status in ("accepted", "declined", "cancelled", "pending")}
        made["expired"] = invite(house, stage, expires_in_days=1)
        answer(house.client.post(f"/invites/{made['declined']['invite_token']}/decline", headers=bobs))
        answer(house.client.post(f"/invites/{made['accepted']['invite_token']}/accept", headers=bobs))
        house.client.delete(f"{invites_of(stage)}/{made['cancelled']['invite_id']}", headers=stage.headers)
        house.clock.turn(days=1)
        headers = bearer(house.world.token(stage.owner))
        for status, one in made.items():
            found = answer(house.client.get(f"{invites_of(stage)}?status={status}", headers=headers))["invites"]
            assert [(row["invite_id"], row["status"]) for row in found] == [(one["invite_id"], status)]

    @pytest.mark.parametrize("status", ["", "open", "PENDING", "pending,expired", "%25"])
    def test_an_unknown_status_is_refused(self, house: House, stage: Stage, status: str) -> None:
        response = house.client.get(f"{invites_of(stage)}?status={status}", headers=stage.headers)
        assert refusal(response, 422, "invalid_input")["errors"][0]["field"] == "status"

    def test_live_and_test_share_them(self, house: House, stage: Stage) -> None:
        made = answer(house.client.post(f"/sandbox{invites_of(stage)}/link", json={}, headers=stage.headers))
        assert [row["invite_id"] for row in listed(house, stage)] == [made["invite_id"]]


class TestCancel:
    def test_it_works_once_and_not_where_it_was_answered(
        self, house: House, stage: Stage, bobs: dict[str, str]
    ) -> None:
        made = invite(house, stage)
        path, accept = f"{invites_of(stage)}/{made['invite_id']}", f"/invites/{made['invite_token']}/accept"
        assert answer(house.client.delete(path, headers=stage.headers)) == {"deleted": True}
        assert [row["status"] for row in listed(house, stage)] == ["cancelled"]
        refusal(house.client.post(accept, headers=bobs), 404, "invitation_not_found")
        refusal(house.client.delete(path, headers=stage.headers), 404, "invitation_not_found")
        answered = invite(house, stage)
        answer(house.client.post(f"/invites/{answered['invite_token']}/accept", headers=bobs))
        path = f"{invites_of(stage)}/{answered['invite_id']}"
        refusal(house.client.delete(path, headers=stage.headers), 404, "invitation_not_found")

    def test_that_of_another_organization_looks_like_none(self, house: House, stage: Stage) -> None:
        other = Stage(house.world)
        foreign = house.client.delete(f"{invites_of(stage)}/{other.invitation}", headers=stage.headers)
        missing = house.client.delete(f"{invites_of(stage)}/inv_aaaaaaaaaaaa", headers=stage.headers)
        refusal(foreign, 404, "invitation_not_found")
        assert foreign.data.replace(other.invitation.encode(), b"inv_aaaaaaaaaaaa") == missing.data
        for invite_id in ("%25", "inv_%25", "%00", "*"):  # compared, and never interpreted
            response = house.client.delete(f"{invites_of(other)}/{invite_id}", headers=other.headers)
            assert response.status_code in (404, 422)
        assert [row["status"] for row in listed(house, other)] == ["pending"]


class TestAccept:
    @pytest.mark.parametrize("role", ["admin", "member"])
    def test_it_works(self, house: House, stage: Stage, bob: User, bobs: dict[str, str], role: str) -> None:
        made = invite(house, stage, role=role)
        joined = answer(house.client.post(f"/invites/{made['invite_token']}/accept", headers=bobs))
        assert joined == {
            "user_id": bob.id,
            "org_id": stage.org,
            "role": role,
            "joined_at": rfc3339(house.clock()),
            "email": bob.email,
            "org_name": "acme",
        }
        assert answer(house.client.get(f"/orgs/{stage.org}/members/me", headers=bobs))["role"] == role

    def test_one_by_email_is_for_who_has_the_address_and_nobody_else_learns_anything(
        self, house: House, stage: Stage, bob: User, bobs: dict[str, str]
    ) -> None:
        made = invite(house, stage, email=bob.email.upper())
        thief = bearer(house.world.token(house.world.user())) | {"X-Request-Id": "proxy-12345678"}
        for verb in ("accept", "decline"):
            stolen = house.client.post(f"/invites/{made['invite_token']}/{verb}", headers=thief)
            unknown = house.client.post(f"/invites/{generate(Prefix.INVITATION).reveal()}/{verb}", headers=thief)
            refusal(stolen, 404, "invitation_not_found")
            assert (stolen.data, stolen.headers) == (unknown.data, unknown.headers)
        assert [row["status"] for row in listed(house, stage)] == ["pending"]
        path = f"/invites/{made['invite_token']}/accept"
        assert answer(house.client.post(path, headers=bobs))["role"] == "member"
        for headers in (bobs, thief):  # a replay, by the same and by another
            refusal(house.client.post(path, headers=headers), 404, "invitation_not_found")

    def test_who_is_a_member_keeps_the_role_and_others_can_still_accept(
        self, house: House, stage: Stage, bobs: dict[str, str]
    ) -> None:
        path = f"/invites/{invite(house, stage)['invite_token']}/accept"
        for user, role in ((stage.owner, Role.OWNER), (house.world.member(stage.organization, Role.ADMIN), Role.ADMIN)):
            refusal(house.client.post(path, headers=bearer(house.world.token(user))), 409, "already_member")
            assert role_of(stage, user) == role
        assert house.client.post(path, headers=bobs).status_code == 200

    @pytest.mark.parametrize("token", ["%00", "%25", "miv_", "x" * 5_000, "%ff%fe", "..", "miv_" + "0" * 28])
    def test_what_is_no_token_is_not_found(self, house: House, bobs: dict[str, str], token: str) -> None:
        response = house.client.post(f"/invites/{token}/accept", headers=bobs)
        assert response.status_code == 404

    def test_a_membership_that_came_a_moment_earlier_wins_and_the_invitation_stays(
        self, house: House, stage: Stage, bob: User, bobs: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = invite(house, stage, role="member")
        statement = "INSERT INTO memberships (org_id, user_id, role, joined_at) VALUES (:org, :user, 'admin', :now)"
        execute(statement, org=stage.org, user=bob.id, now=house.clock().isoformat(" "))
        monkeypatch.setattr("mushu.server.orgs.members.find_member", lambda *_: None)
        refusal(house.client.post(f"/invites/{made['invite_token']}/accept", headers=bobs), 409, "conflict")
        monkeypatch.undo()
        assert role_of(stage, bob) == "admin"
        assert [row["status"] for row in listed(house, stage)] == ["pending"]


class TestDecline:
    def test_it_works(self, house: House, stage: Stage, bob: User, bobs: dict[str, str]) -> None:
        token = invite(house, stage, email=bob.email)["invite_token"]
        assert answer(house.client.post(f"/invites/{token}/decline", headers=bobs)) == {"declined": True}
        assert [row["status"] for row in listed(house, stage)] == ["declined"]
        for verb in ("accept", "decline"):
            refusal(house.client.post(f"/invites/{token}/{verb}", headers=bobs), 404, "invitation_not_found")
        assert role_of(stage, bob) is None


class TestTheToken:
    def test_is_in_no_log_no_error_and_no_audit_event(
        self, house: House, stage: Stage, bobs: dict[str, str], monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        token = invite(house, stage)["invite_token"]

        def crash(*_: object) -> None:
            raise RuntimeError(f"{token} broke it")

        monkeypatch.setattr("mushu.server.gate.invitations.accept_invitation", crash)
        with caplog.at_level(logging.DEBUG):
            crashed = house.client.post(f"/invites/{token}/accept", headers=bobs)
            missing = house.client.post(f"/invites/{token}/accepted", headers=bobs)
        assert crashed.status_code == 500
        lines = [logs.JsonFormatter().format(record) for record in caplog.records]
        assert any("broke it" in line for line in lines)
        assert token not in "".join(lines) + crashed.get_data(as_text=True) + missing.get_data(as_text=True)
        with reading(db.session):
            events = db.session.scalars(select(AuditEvent).where(AuditEvent.org_id == stage.org)).all()
        assert not any(token in str(event.details) + event.target_id for event in events)
