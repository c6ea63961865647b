"""Accepting an invitation, as long as who invited could still do so; it may be 90 days old by then.

An invitation is withdrawn when its inviter is removed, demoted, disabled or deleted. This is for everything else: a key
that expired or was rotated away, what happens at the same moment, and older rows.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import select

from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server.audit import SYSTEM, ActorKind
from mushu.server.clock import Clock
from mushu.server.db import IN_ALL_ENVIRONMENTS, AnySession, holds_rows, writing
from mushu.server.errors import InvitationWithdrawn
from mushu.server.gate.access import Requirement, still_may
from mushu.server.keys import Scope
from mushu.server.keys.models import ApiKey
from mushu.server.orgs.invitations import withdraw
from mushu.server.orgs.members import Invitee, accept_invitation, get_open_invitation
from mushu.server.orgs.models import Membership, Organization, OrgInvitation
from mushu.server.users.models import User

#: What an invitation asks of the inviter.
INVITING: Final = Requirement(Scope.ADMIN, changes_shared=True)
#: The operator and the server itself: they do not lose what they may do.
_ALWAYS: Final = (ActorKind.OPERATOR, ActorKind.SYSTEM)
_WITHDRAWN: Final = (
    "The inviter can no longer let anybody into this organization, so the invitation was withdrawn. "
    "Ask one of its admins for a new one."
)


def accept(session: AnySession, clock: Clock, invitee: Invitee, token: Secret) -> Membership:
    """Let the user in, if the inviter could still invite them; owns its transaction.

    Raises:
        InvitationWithdrawn: the inviter could not, and the invitation is cancelled.
        and what `accept_invitation` raises.
    """
    with writing(session):
        invitation = get_open_invitation(session, clock, invitee, token)
        _hold_inviter(session, invitation)
        if may_still_invite(session, clock(), invitation):
            return accept_invitation(session, clock, invitee, token)
        withdraw(session, clock, SYSTEM, OrgInvitation.id == invitation.id, "inviter.ended")
    raise InvitationWithdrawn(_WITHDRAWN)


def get_answerable(session: AnySession, clock: Clock, invitee: Invitee, token: Secret) -> OrgInvitation:
    """Return the invitation, to be shown to a user who may accept it now.

    Raises:
        InvitationWithdrawn, InvitationNotFound: the user may not.
    """
    invitation = get_open_invitation(session, clock, invitee, token)
    if not may_still_invite(session, clock(), invitation):
        raise InvitationWithdrawn(_WITHDRAWN)
    return invitation


def may_still_invite(session: AnySession, now: datetime, invitation: OrgInvitation) -> bool:
    """Tell whether the user or the key that made the invitation could make it now."""
    if invitation.invited_by in _ALWAYS:
        return True
    return still_may(session, now, invitation.invited_by, INVITING, Environment.LIVE, invitation.org_id)


def _hold_inviter(session: AnySession, invitation: OrgInvitation) -> None:
    """Lock the organization, and the rows that the inviter's permission rests on, until this transaction ends."""
    if not holds_rows(session):
        return
    by = invitation.invited_by
    org = select(Organization.id).where(Organization.id == invitation.org_id)
    for query in (
        select(User.id).where(User.id == by).with_for_update(read=True),
        org.with_for_update(read=True, key_share=True),
        select(Membership.user_id)
        .where(Membership.org_id == invitation.org_id, Membership.user_id == by)
        .with_for_update(read=True),
        select(ApiKey.id).where(ApiKey.id == by).with_for_update(read=True),
    ):
        session.execute(query.execution_options(**{IN_ALL_ENVIRONMENTS: True}))
