"""Invitations into an organization: who invites, on which terms, and what becomes of an invitation."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import ColumnElement, and_, select, update

from mushu.keyformat import Prefix, generate, public_id, public_id_of
from mushu.secret import Secret
from mushu.server.audit import Actor, ActorKind, Detail, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.errors import AlreadyCreated, Invalid, InvitationNotFound
from mushu.server.idempotency import IdempotencyMark
from mushu.server.orgs.models import Organization, OrgInvitation, parse_assignable
from mushu.server.orgs.settings import refuse_foreign
from mushu.server.paging import Page, Window, page

DEFAULT_DAYS: Final = 7
MAX_DAYS: Final = 90


class InvitationType(StrEnum):
    EMAIL = "email"
    LINK = "link"


class InvitationStatus(StrEnum):
    PENDING = "pending"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    #: Never stored: what a pending one is called once its time is over.
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class InvitationTerms:
    """What an invitation offers, and for how long: 1 to 90 days, or as long as there is where that is None."""

    role: str
    expires_in_days: int | None = DEFAULT_DAYS
    #: Of a request that makes one invitation, however often it is sent.
    idempotency: IdempotencyMark | None = None


def invite_by_email(
    session: AnySession, clock: Clock, actor: Actor, org: Organization, terms: InvitationTerms, email: str
) -> tuple[OrgInvitation, Secret]:
    """Return an invitation that only the user with this address can answer, and its token, which is nowhere else.

    Args:
        email: as `users.service.checked_email` returns it; a user who has it may come later.

    Raises:
        Invalid: the role is not admin or member, or the time is not 1 to 90 days, or the address is of a domain that
            the organization does not take.
        AlreadyCreated: an invitation was made with the mark of these terms; its token cannot be told again.
    """
    refuse_foreign(session, org.id, email)
    return _invite(session, clock, actor, org, terms, email)


def invite_by_link(
    session: AnySession, clock: Clock, actor: Actor, org: Organization, terms: InvitationTerms
) -> tuple[OrgInvitation, Secret]:
    """Return an invitation that whoever holds its token can answer, once, and the token, which is nowhere else.

    Raises:
        Invalid: the role is not admin or member, or the time is not 1 to 90 days.
        AlreadyCreated: an invitation was made with the mark of these terms; its token cannot be told again.
    """
    return _invite(session, clock, actor, org, terms, None)


def status_of(invitation: OrgInvitation, now: datetime) -> InvitationStatus:
    stored = InvitationStatus(invitation.stored_status)
    over = stored is InvitationStatus.PENDING and invitation.expires_at <= now
    return InvitationStatus.EXPIRED if over else stored


def has_status(status: InvitationStatus, now: datetime) -> ColumnElement[bool]:
    """Return the condition that `status_of` answers `status`."""
    if status is InvitationStatus.PENDING:
        return and_(OrgInvitation.stored_status == status, OrgInvitation.expires_at > now)
    if status is InvitationStatus.EXPIRED:
        return and_(OrgInvitation.stored_status == InvitationStatus.PENDING, OrgInvitation.expires_at <= now)
    return OrgInvitation.stored_status == status


def list_invitations(
    session: AnySession, clock: Clock, org_id: str, status: InvitationStatus | None, window: Window
) -> Page[OrgInvitation]:
    """Return a page of the invitations into the organization, newest first; of all, or of those with `status`."""
    query = select(OrgInvitation).where(OrgInvitation.org_id == org_id)
    if status is not None:
        query = query.where(has_status(status, clock()))
    return page(session, query, OrgInvitation.created_at, OrgInvitation.id, window)


def cancel_invitation(session: AnySession, clock: Clock, actor: Actor, org_id: str, invitation_id: str) -> None:
    """Make an unanswered invitation useless.

    Raises:
        InvitationNotFound: not of this organization, or answered or cancelled already.
    """
    now = clock()
    ours = and_(OrgInvitation.id == invitation_id, OrgInvitation.org_id == org_id)
    if not settle(session, now, ours, InvitationStatus.CANCELLED):
        raise InvitationNotFound(f"{org_id} has no invitation {invitation_id!r} that is still unanswered.")
    record(session, now, actor, "invitation.cancelled", invitation_id, org_id=org_id)


def withdraw(session: AnySession, clock: Clock, actor: Actor, which: ColumnElement[bool], because: str) -> None:
    """Cancel unanswered invitations that have lost their ground.

    Args:
        because: what was done, as `member.removed`; it stands in the event of each.
    """
    now = clock()
    pending = select(OrgInvitation.id, OrgInvitation.org_id).where(
        which, OrgInvitation.stored_status == InvitationStatus.PENDING
    )
    for invitation_id, org_id in session.execute(pending.order_by(OrgInvitation.id)).all():
        if settle(session, now, OrgInvitation.id == invitation_id, InvitationStatus.CANCELLED):
            details: dict[str, Detail] = {"because": because}
            record(session, now, actor, "invitation.withdrawn", invitation_id, org_id=org_id, details=details)


def settle(
    session: AnySession,
    now: datetime,
    which: ColumnElement[bool],
    status: InvitationStatus,
    accepted_by: str | None = None,
) -> bool:
    """Give an unanswered invitation its last status; of several requests at once, one is told that it did."""
    pending = update(OrgInvitation).where(which, OrgInvitation.stored_status == InvitationStatus.PENDING)
    values = {"stored_status": status, "settled_at": now, "accepted_by": accepted_by}
    settled: int = session.execute(pending.values(values)).rowcount  # type: ignore[attr-defined]
    return settled > 0


def _invite(
    session: AnySession, clock: Clock, actor: Actor, org: Organization, terms: InvitationTerms, email: str | None
) -> tuple[OrgInvitation, Secret]:
    now, token = clock(), generate(Prefix.INVITATION)
    invitation = OrgInvitation(
        id=_id_for(session, terms.idempotency),
        org_id=org.id,
        invite_type=InvitationType.LINK if email is None else InvitationType.EMAIL,
        role=parse_assignable(terms.role),
        email=email,
        digest=token.digest(),
        stored_status=InvitationStatus.PENDING,
        # The account of an operator is no business of the members; the audit trail has it.
        invited_by=actor.id if actor.kind in (ActorKind.USER, ActorKind.API_KEY) else actor.kind,
        created_at=now,
        expires_at=now + _lifetime(terms.expires_in_days),
    )
    session.add(invitation)
    details: dict[str, Detail] = {"type": invitation.invite_type, "role": invitation.role, "email": email}
    record(session, now, actor, "invitation.created", invitation.id, org_id=org.id, details=details)
    return invitation, token


def _id_for(session: AnySession, mark: IdempotencyMark | None) -> str:
    """Return the id of a new invitation: a mark has one, which the database takes once, also of two at once."""
    if mark is None:
        return public_id("inv")
    found = session.get(OrgInvitation, public_id_of("inv", mark.request_key))
    if found is not None:
        raise AlreadyCreated(
            f"This request has made {found.id}, whose link is shown once. Cancel it if the link is lost."
        )
    return public_id_of("inv", mark.request_key)


def _lifetime(days: int | None) -> timedelta:
    days = MAX_DAYS if days is None else days
    if not 1 <= days <= MAX_DAYS:
        raise Invalid(f"An invitation lasts 1 to {MAX_DAYS} days.", field="expires_in_days")
    return timedelta(days=days)
