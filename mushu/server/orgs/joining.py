"""How the one who was invited answers: by joining, or by declining."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from mushu.secret import Secret
from mushu.server.audit.service import Actor, ActorKind, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.errors import AlreadyMember, InvitationNotFound
from mushu.server.orgs.invitations import InvitationStatus, has_status, settle
from mushu.server.orgs.members import add_member, find_member
from mushu.server.orgs.models import Membership, Organization, OrgInvitation
from mushu.server.orgs.roles import Role
from mushu.server.orgs.settings import refuse_foreign

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
