"""Invitations into an organization: for who invites, and for who was invited."""

from http import HTTPStatus

from pydantic import BaseModel

from mushu.secret import Secret
from mushu.server import answers
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.gate.invitations import accept
from mushu.server.keys import Scope
from mushu.server.orgs import invitations as service
from mushu.server.orgs.invitations import DEFAULT_DAYS, InvitationStatus, InvitationTerms
from mushu.server.orgs.members import Invitee, decline_invitation
from mushu.server.orgs.service import get_org
from mushu.server.users.service import checked_email, get_user
from mushu.server.web.api.models import Body, Deleted, ListWindow, Member, OrgPath, Text
from mushu.server.web.guard import current_principal, current_user, requires, signed_in
from mushu.server.web.routes import Resource, Route


class InvitationPath(OrgPath):
    invite_id: str


class InvitationTokenPath(BaseModel):
    token: str


class NewLinkInvitation(Body):
    """`expires_in_days` is 1 to 90; null is 90."""

    role: Text = "member"
    expires_in_days: int | None = DEFAULT_DAYS

    def terms(self) -> InvitationTerms:
        return InvitationTerms(self.role, self.expires_in_days)


class NewEmailInvitation(NewLinkInvitation):
    email: Text


class InvitationsOf(ListWindow):
    status: InvitationStatus | None = None


class Invitation(BaseModel):
    """An invitation; `invite_token` is in the answer to its creation only, and null later."""

    invite_id: str
    org_id: str
    invite_type: str
    role: str
    invite_token: str | None
    status: str
    invited_by: str
    created_at: str
    org_name: str
    email: str | None
    expires_at: str


class InvitationList(BaseModel):
    invites: list[Invitation]
    next_cursor: str | None


class Joined(Member):
    org_name: str


class Declined(BaseModel):
    declined: bool = True


@requires(Scope.ADMIN, changes_shared=True)
def create_email_invitation(path: OrgPath, body: NewEmailInvitation) -> Invitation:
    """Invite the user with this e-mail address. No mail is sent: hand the token over yourself."""
    clock, actor, email = get_core().clock, current_principal().actor, checked_email(body.email)
    with writing(db.session):
        org = get_org(db.session, path.org_id)
        created, token = service.invite_by_email(db.session, clock, actor, org, body.terms(), email)
    return Invitation(**answers.invitation(created, org.name, clock(), token))


@requires(Scope.ADMIN, changes_shared=True)
def create_link_invitation(path: OrgPath, body: NewLinkInvitation) -> Invitation:
    """Invite whoever is the first to accept with the token in the answer."""
    clock, actor = get_core().clock, current_principal().actor
    with writing(db.session):
        org = get_org(db.session, path.org_id)
        created, token = service.invite_by_link(db.session, clock, actor, org, body.terms())
    return Invitation(**answers.invitation(created, org.name, clock(), token))


@requires(Scope.ADMIN)
def list_invitations(path: OrgPath, query: InvitationsOf) -> InvitationList:
    """List the invitations into an organization, newest first; all, or those with a status."""
    clock = get_core().clock
    with reading(db.session):
        org = get_org(db.session, path.org_id)
        found = service.list_invitations(db.session, clock, org.id, query.status, query.window)
    invites = [Invitation(**answers.invitation(one, org.name, clock())) for one in found.rows]
    return InvitationList(invites=invites, next_cursor=found.next_cursor)


@requires(Scope.ADMIN, changes_shared=True)
def cancel_invitation(path: InvitationPath) -> Deleted:
    """Cancel an invitation that was not answered yet."""
    with writing(db.session):
        actor = current_principal().actor
        service.cancel_invitation(db.session, get_core().clock, actor, path.org_id, path.invite_id)
    return Deleted()


@signed_in
def accept_invite(path: InvitationTokenPath) -> Joined:
    """Join the organization that the token invites to."""
    with reading(db.session):
        user = get_user(db.session, current_user().user_id)
    member = accept(db.session, get_core().clock, Invitee(user.id, user.email), Secret(path.token))
    with reading(db.session):
        org = get_org(db.session, member.org_id)
    return Joined(**answers.member(member, user.email), org_name=org.name)


@signed_in
def decline_invite(path: InvitationTokenPath) -> Declined:
    """Decline an invitation; nobody can accept it afterwards."""
    with writing(db.session):
        user = get_user(db.session, current_user().user_id)
        decline_invitation(db.session, get_core().clock, Invitee(user.id, user.email), Secret(path.token))
    return Declined()


#: For who invites.
RESOURCE = Resource(
    "invitations",
    [
        Route("POST", "/orgs/<org_id>/invites/email", create_email_invitation, Invitation),
        Route("POST", "/orgs/<org_id>/invites/link", create_link_invitation, Invitation),
        Route("GET", "/orgs/<org_id>/invites", list_invitations, InvitationList),
        Route("DELETE", "/orgs/<org_id>/invites/<invite_id>", cancel_invitation, Deleted),
    ],
)
#: For who was invited.
INVITEES = Resource(
    "invitees",
    [
        Route("POST", "/invites/<token>/accept", accept_invite, Joined, (HTTPStatus.CONFLICT,)),
        Route("POST", "/invites/<token>/decline", decline_invite, Declined),
    ],
)
