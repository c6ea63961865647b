"""Invitations whose maker could not make them any more."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from mushu.server.audit import SYSTEM, AuditEvent
from mushu.server.core import context_for, db
from mushu.server.db import reading, writing
from mushu.server.keys import Scope
from mushu.server.lifecycle.delete import delete
from mushu.server.orgs.models import Membership, OrgInvitation, Role
from mushu.server.users.models import User
from mushu.server.users.service import disable_user, enable_user, get_user
from tests.server.conftest import api_key, bearer
from tests.server.web.asking import answer, execute, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

pytestmark = pytest.mark.database


@pytest.fixture
def bob(house: House) -> User:
    return house.world.user()


class Offer:
    """An admin invitation by link, made over HTTP with these credentials."""

    def __init__(self, house: House, stage: Stage, headers: dict[str, str], bob: User) -> None:
        self.house, self.stage, self.bob = house, stage, bob
        made = answer(house.client.post(f"/orgs/{stage.org}/invites/link", json={"role": "admin"}, headers=headers))
        self.id, self.token = made["invite_id"], made["invite_token"]

    def refused(self, code: str) -> None:
        headers = bearer(self.house.world.token(self.bob))
        refusal(self.house.client.post(f"/invites/{self.token}/accept", headers=headers), 404, code)
        with reading(db.session):
            member = select(Membership).where(Membership.org_id == self.stage.org, Membership.user_id == self.bob.id)
            assert db.session.scalars(member).one_or_none() is None

    def is_withdrawn(self) -> bool:
        with reading(db.session):
            status = db.session.scalar(select(OrgInvitation.stored_status).where(OrgInvitation.id == self.id))
            event = select(AuditEvent).where(
                AuditEvent.target_id == self.id, AuditEvent.action == "invitation.withdrawn"
            )
            return status == "cancelled" and db.session.scalars(event).one_or_none() is not None


def by_key(house: House, stage: Stage, bob: User) -> tuple[Offer, str]:
    key, text = house.world.key(stage.organization, *Scope)
    return Offer(house, stage, api_key(text), bob), key.id


def by_admin(house: House, stage: Stage, bob: User) -> tuple[Offer, str]:
    admin = house.world.member(stage.organization, Role.ADMIN)
    return Offer(house, stage, bearer(house.world.token(admin)), bob), admin.id


@pytest.mark.fault
def test_what_a_key_offered_ends_when_it_is_deleted(house: House, stage: Stage, bob: User) -> None:
    offer, key_id = by_key(house, stage, bob)
    delete(context_for(SYSTEM), key_id)
    assert offer.is_withdrawn()
    offer.refused("invitation_not_found")


@pytest.mark.fault
@pytest.mark.parametrize("enabled_again", [False, True])
def test_what_an_admin_offered_ends_when_they_are_disabled(
    house: House, stage: Stage, bob: User, enabled_again: bool
) -> None:
    offer, admin_id = by_admin(house, stage, bob)
    with writing(db.session):
        disable_user(db.session, house.clock, SYSTEM, get_user(db.session, admin_id))
        if enabled_again:
            enable_user(db.session, house.clock, SYSTEM, get_user(db.session, admin_id))
    assert offer.is_withdrawn()
    offer.refused("invitation_not_found")


#: What takes the ground away without anything of ours that would notice: rows of before, and what time does.
_QUIETLY: dict[str, tuple[Callable[[House, Stage, User], tuple[Offer, str]], str]] = {
    "key deleted": (by_key, "UPDATE api_keys SET state = 'revoked' WHERE id = :id"),
    "key disabled": (by_key, "UPDATE api_keys SET state = 'disabled' WHERE id = :id"),
    "key expired": (by_key, "UPDATE api_keys SET expires_at = created_at WHERE id = :id"),
    "key retired": (by_key, "UPDATE api_keys SET state = 'retiring', retires_at = created_at WHERE id = :id"),
    "user disabled": (by_admin, "UPDATE users SET disabled_at = created_at WHERE id = :id"),
    "demoted": (by_admin, "UPDATE memberships SET role = 'member' WHERE user_id = :id"),
    "removed": (by_admin, "DELETE FROM memberships WHERE user_id = :id"),
}


@pytest.mark.fault
@pytest.mark.parametrize("how", _QUIETLY)
def test_acceptance_asks_whether_the_inviter_still_could(house: House, stage: Stage, bob: User, how: str) -> None:
    make, statement = _QUIETLY[how]
    offer, inviter_id = make(house, stage, bob)
    execute(statement, id=inviter_id)
    offer.refused("invitation_withdrawn")
    assert offer.is_withdrawn(), "though the request was refused"
    offer.refused("invitation_not_found")


@pytest.mark.fault
def test_a_deleted_organization_leaves_no_invitation_pending(house: House, stage: Stage, bob: User) -> None:
    offer = Offer(house, stage, stage.headers, bob)
    answer(house.client.delete(f"/orgs/{stage.org}", headers=stage.headers))
    assert offer.is_withdrawn()
    offer.refused("invitation_not_found")


@pytest.mark.fault
def test_what_a_removed_member_offered_is_withdrawn_with_an_event(house: House, stage: Stage, bob: User) -> None:
    offer, admin_id = by_admin(house, stage, bob)
    answer(house.client.delete(f"/orgs/{stage.org}/members/{admin_id}", headers=stage.headers))
    assert offer.is_withdrawn()


def test_what_was_offered_before_a_transfer_stands_because_the_former_owner_is_an_admin(
    house: House, stage: Stage, bob: User
) -> None:
    offer = Offer(house, stage, stage.headers, bob)
    path = f"/orgs/{stage.org}/transfer"
    answer(house.client.post(path, json={"user_id": stage.member}, headers=stage.headers))
    joined = house.client.post(f"/invites/{offer.token}/accept", headers=bearer(house.world.token(bob)))
    assert answer(joined)["role"] == "admin"
