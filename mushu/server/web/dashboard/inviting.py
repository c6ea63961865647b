"""An admin invites into an organization, by e-mail or by link, and takes an invitation back."""

from typing import Final

from flask import Response, flash, request, url_for
from werkzeug import Response as BaseResponse

from mushu.secret import Secret
from mushu.server import answers
from mushu.server.core import db, get_core
from mushu.server.db import writing
from mushu.server.errors import Invalid
from mushu.server.keys import Scope
from mushu.server.orgs.invitations import InvitationTerms, cancel_invitation, invite_by_email, invite_by_link
from mushu.server.orgs.models import Organization, OrgInvitation
from mushu.server.orgs.service import get_org
from mushu.server.users.service import checked_email
from mushu.server.web.dashboard.key_form import USED, mark_of_form
from mushu.server.web.dashboard.members import members_page, to_members
from mushu.server.web.dashboard.shell import page, to
from mushu.server.web.error_pages import Way, sent_before
from mushu.server.web.guard import current_principal, org_page

_DIGITS: Final = 3
_MADE: Final = (
    "This form has made its invitation, whose link is shown once; this click made nothing. If the link is lost, cancel "
    "the invitation and make another."
)


@org_page(Scope.ADMIN, changes_shared=True)
def invite(org_id: str) -> Response:
    """Invite the user with an e-mail address, or without one who is the first to follow the link: it is shown once."""
    try:
        created, org, token = _invited(org_id)
    except Invalid as error:
        return members_page(error.detail)
    except USED:
        return sent_before("This invitation was shown already", _MADE, [Way("Open the members", to("show_members"))])
    told = answers.invitation(created, org.name, get_core().clock(), token)
    link = get_core().settings.base_url + url_for("invitation_pages.show_invitation", token=told["invite_token"])
    return page("invited", invitation=created, link=link)


@org_page(Scope.ADMIN, changes_shared=True)
def take_invitation_back(org_id: str, invite_id: str) -> BaseResponse:
    """Cancel an invitation that was not answered yet."""
    with writing(db.session):
        cancel_invitation(db.session, get_core().clock, current_principal().actor, org_id, invite_id)
    flash("The invitation is cancelled: nobody can accept it any more.")
    return to_members()


def _invited(org_id: str) -> tuple[OrgInvitation, Organization, Secret]:
    """Return the invitation that the form asks for, where it is to, and its token.

    Raises:
        Invalid: a field is not usable.
        AlreadyCreated: the form was sent before.
    """
    clock, actor = get_core().clock, current_principal().actor
    asked = {name: request.form.get(name, "").strip() for name in ("email", "role", "days")}
    terms = InvitationTerms(asked["role"], _days(asked["days"]), mark_of_form("invite_page", {**asked}))
    email = checked_email(asked["email"]) if asked["email"] else None
    with writing(db.session):
        org = get_org(db.session, org_id)
        if email is None:
            created, token = invite_by_link(db.session, clock, actor, org, terms)
        else:
            created, token = invite_by_email(db.session, clock, actor, org, terms, email)
    return created, org, token


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise Invalid("Write for how many days the invitation lasts, as a number.", field="days")
    return int(text)


PAGES: Final = (
    ("POST", "/members/invite", invite),
    ("POST", "/members/invitations/<invite_id>/cancel", take_invitation_back),
)
