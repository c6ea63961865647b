"""Memberships: how the invited join, who belongs to an organization in which role, and who owns it."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, bindparam, select

from mushu.secret import Secret
from mushu.server.audit import Actor, ActorKind, Detail, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.environments import Source, prepare
from mushu.server.errors import (
    AlreadyMember,
    Invalid,
    InvitationNotFound,
    MemberNotFound,
    OwnerImmovable,
    OwnerRequired,
)
from mushu.server.orgs.invitations import InvitationStatus, has_status, settle, withdraw
from mushu.server.orgs.models import Membership, Organization, OrgInvitation, Role
from mushu.server.orgs.service import get_org
from mushu.server.orgs.settings import refuse_foreign
from mushu.server.paging import Order, Page, Window, ordered_page

_ROLE: Final = prepare(
    select(Membership.role)
    .join(Organization, Organization.id == Membership.org_id)
    .where(Membership.org_id == bindparam("org_id"), Membership.user_id == bindparam("user_id"))
    .where(Organization.deleted_at.is_(None))
)


def find_member(session: AnySession, org_id: str, user_id: str) -> Membership | None:
    """Return the membership, or None when the user does not belong to the organization or it was deleted."""
    return session.scalars(
        select(Membership)
        .join(Organization, Organization.id == Membership.org_id)
        .where(Membership.org_id == org_id, Membership.user_id == user_id, Organization.deleted_at.is_(None))
        .execution_options(populate_existing=True)  # an earlier transaction may have seen another role
    ).one_or_none()


def find_role(source: Source, org_id: str, user_id: str) -> Role | None:
    """Return the role of the member, or None when the user does not belong to the organization or it was deleted."""
    found = _ROLE.rows(source, {"org_id": org_id, "user_id": user_id})
    return Role(found[0].role) if found else None


def get_member(session: AnySession, org_id: str, user_id: str) -> Membership:
    """Return the membership.

    Raises:
        MemberNotFound: the user does not belong to the organization.
    """
    member = find_member(session, org_id, user_id)
    if member is None:
        raise _not_a_member(org_id, user_id)
    return member


def list_members(session: AnySession, org_id: str, window: Window) -> Page[Membership]:
    """Return a page of the members, longest-standing first."""
    order = Order((Membership.joined_at, Membership.user_id))
    return ordered_page(session, select(Membership).where(Membership.org_id == org_id), order, window)


def add_member(session: AnySession, clock: Clock, actor: Actor, org_id: str, user_id: str, role: Role) -> Membership:
    """Let a user into the organization.

    Raises:
        AlreadyMember: the user belongs to it already.
    """
    if find_member(session, org_id, user_id) is not None:
        raise AlreadyMember(f"{user_id} is a member of {org_id} already; set the role instead.")
    member = Membership(org_id=org_id, user_id=user_id, role=role, joined_at=clock())
    session.add(member)
    record(session, member.joined_at, actor, "member.added", user_id, org_id=org_id, details={"role": role})
    return member


def set_role(session: AnySession, clock: Clock, actor: Actor, member: Membership, role: Role) -> Membership:
    """Give a member another role.

    Raises:
        OwnerImmovable: the member is the owner, also when that was transferred a moment ago.
        MemberNotFound: another request removed the member a moment ago.
    """
    member = _locked(session, member.org_id, member.user_id)
    _refuse_owner(member)
    details: dict[str, Detail] = {"from": member.role, "to": role}
    member.role = role
    _withdraw_invitations(session, clock, actor, member, "member.role_set")
    record(session, clock(), actor, "member.role_set", member.user_id, org_id=member.org_id, details=details)
    return member


def remove_member(session: AnySession, clock: Clock, actor: Actor, member: Membership) -> None:
    """Take a member out of the organization.

    Raises:
        OwnerImmovable: the member is the owner, also when that was transferred a moment ago.
        MemberNotFound: another request removed the member a moment ago.
    """
    member = _locked(session, member.org_id, member.user_id)
    _refuse_owner(member)
    session.delete(member)
    _withdraw_invitations(session, clock, actor, member, "member.removed")
    record(session, clock(), actor, "member.removed", member.user_id, org_id=member.org_id)


def transfer_ownership(
    session: AnySession, clock: Clock, actor: Actor, org: Organization, new_owner: Membership
) -> Membership:
    """Make a member the owner; who was it becomes an admin. At no moment has the organization two owners or none.

    Raises:
        OrgNotFound: the organization was deleted.
        MemberNotFound: the new owner is not, or no longer, a member of it.
        OwnerRequired: the actor is not, or no longer, its owner; an operator need not be.
        Invalid: the member owns it already.
    """
    # 1. One transfer at a time: who comes second sees what the first one did.
    session.get(Organization, org.id, populate_existing=True, with_for_update={"key_share": True})
    get_org(session, org.id)
    # 2. Decided again, because what the guard saw may have changed since.
    owning = select(Membership).where(Membership.org_id == org.id, Membership.role == Role.OWNER)
    former = session.scalars(owning.execution_options(populate_existing=True)).one()
    if actor.kind not in (ActorKind.OPERATOR, ActorKind.SYSTEM) and actor.id != former.user_id:
        raise OwnerRequired("Only the owner of the organization can do this.")
    owner = _locked(session, org.id, new_owner.user_id)
    if owner is former:
        raise Invalid(f"{owner.user_id} owns {org.id} already.", field="user_id")
    # 3. In this order, because the unique index holds between two statements, too.
    former.role = Role.ADMIN
    session.flush()
    owner.role = Role.OWNER
    details: dict[str, Detail] = {"from": former.user_id, "to": owner.user_id}
    record(session, clock(), actor, "org.transferred", org.id, org_id=org.id, details=details)
    return owner


def _locked(session: AnySession, org_id: str, user_id: str) -> Membership:
    """Return the membership as it is now, and let nobody else change it before this transaction ends."""
    member = session.get(Membership, (org_id, user_id), populate_existing=True, with_for_update=True)
    if member is None:
        raise _not_a_member(org_id, user_id)
    return member


def _withdraw_invitations(session: AnySession, clock: Clock, actor: Actor, member: Membership, because: str) -> None:
    """Cancel what the member offered while they could, or it would let them in again with their old role."""
    offered = and_(OrgInvitation.org_id == member.org_id, OrgInvitation.invited_by == member.user_id)
    withdraw(session, clock, actor, offered, because)


def _not_a_member(org_id: str, user_id: str) -> MemberNotFound:
    return MemberNotFound(f"{user_id} is not a member of {org_id}.")


def _refuse_owner(member: Membership) -> None:
    if member.is_owner:
        raise OwnerImmovable(
            "An organization always has its owner: this membership can be neither changed nor removed. Transfer the "
            "ownership first."
        )


# One sentence for every reason, so that who tries tokens, or holds another's, learns nothing.
_GONE: Final = (
    "This invitation was answered or cancelled, has expired, is incomplete, or is not for you. "
    "Ask who invited you for a new one."
)


@dataclass(frozen=True, slots=True)
class Invitee:
    """The user who answers an invitation."""

    user_id: str
    email: str


def accept_invitation(session: AnySession, clock: Clock, invitee: Invitee, token: Secret) -> Membership:
    """Let the user in, and use the invitation up.

    Raises:
        InvitationNotFound: unknown, used, over, for another address or into a deleted organization; also when another
            request was a moment faster.
        AlreadyMember: the user belongs to the organization; neither the role nor the invitation changes.
        Invalid: the organization does not take members with the user's address.
    """
    invitation = get_open_invitation(session, clock, invitee, token)
    if find_member(session, invitation.org_id, invitee.user_id) is not None:
        raise AlreadyMember(f"You are a member of {invitation.org_id} already; the invitation stays as it is.")
    refuse_foreign(session, invitation.org_id, invitee.email)
    actor = _answer(session, clock, invitation, invitee, InvitationStatus.ACCEPTED)
    return add_member(session, clock, actor, invitation.org_id, invitee.user_id, Role(invitation.role))


def decline_invitation(session: AnySession, clock: Clock, invitee: Invitee, token: Secret) -> None:
    """Use the invitation up without joining.

    Raises:
        InvitationNotFound: as for accepting.
    """
    _answer(session, clock, get_open_invitation(session, clock, invitee, token), invitee, InvitationStatus.DECLINED)


def get_open_invitation(session: AnySession, clock: Clock, invitee: Invitee, token: Secret) -> OrgInvitation:
    """Return the invitation with this token, if this user can answer it now.

    Raises:
        InvitationNotFound: they cannot, for whatever reason.
    """
    living = select(OrgInvitation).join(Organization, Organization.id == OrgInvitation.org_id)
    living = living.where(Organization.deleted_at.is_(None), has_status(InvitationStatus.PENDING, clock()))
    invitation = session.scalars(living.where(OrgInvitation.digest == token.digest())).one_or_none()
    if invitation is None or invitation.email not in (None, invitee.email):
        raise InvitationNotFound(_GONE)
    return invitation


def _answer(
    session: AnySession, clock: Clock, invitation: OrgInvitation, invitee: Invitee, status: InvitationStatus
) -> Actor:
    now, actor = clock(), Actor(ActorKind.USER, invitee.user_id)
    accepted_by = invitee.user_id if status is InvitationStatus.ACCEPTED else None
    if not settle(session, now, OrgInvitation.id == invitation.id, status, accepted_by):
        raise InvitationNotFound(_GONE)
    record(session, now, actor, f"invitation.{status}", invitation.id, org_id=invitation.org_id)
    return actor
