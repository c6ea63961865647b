from collections.abc import Sequence

from sqlalchemy import select

from mushu.server.audit.service import Actor, Detail, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.errors import AlreadyMember, MemberNotFound, OwnerImmovable
from mushu.server.orgs.models import Membership, Organization
from mushu.server.orgs.roles import Role


def find_member(session: AnySession, org_id: str, user_id: str) -> Membership | None:
    """Return the membership, or None when the user does not belong to the organization or it was deleted."""
    return session.scalars(
        select(Membership)
        .join(Organization, Organization.id == Membership.org_id)
        .where(Membership.org_id == org_id, Membership.user_id == user_id, Organization.deleted_at.is_(None))
    ).one_or_none()


def get_member(session: AnySession, org_id: str, user_id: str) -> Membership:
    """Return the membership.

    Raises:
        MemberNotFound: the user does not belong to the organization.
    """
    member = find_member(session, org_id, user_id)
    if member is None:
        raise MemberNotFound(f"{user_id} is not a member of {org_id}.")
    return member


def list_members(session: AnySession, org_id: str) -> Sequence[Membership]:
    """Return the members, longest-standing first."""
    return session.scalars(
        select(Membership).where(Membership.org_id == org_id).order_by(Membership.joined_at, Membership.user_id)
    ).all()


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
        OwnerImmovable: the member is the owner.
    """
    _refuse_owner(member)
    details: dict[str, Detail] = {"from": member.role, "to": role}
    member.role = role
    record(session, clock(), actor, "member.role_set", member.user_id, org_id=member.org_id, details=details)
    return member


def remove_member(session: AnySession, clock: Clock, actor: Actor, member: Membership) -> None:
    """Take a member out of the organization.

    Raises:
        OwnerImmovable: the member is the owner.
    """
    _refuse_owner(member)
    session.delete(member)
    record(session, clock(), actor, "member.removed", member.user_id, org_id=member.org_id)


def _refuse_owner(member: Membership) -> None:
    if member.is_owner:
        raise OwnerImmovable(
            "An organization always has its owner: this membership can be neither changed nor removed."
        )
