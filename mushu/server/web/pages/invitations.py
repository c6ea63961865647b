"""The page of an invitation: the invited user sees which organization it is into, and joins or declines."""

from http import HTTPStatus

from flask import abort, render_template, request

from mushu.secret import Secret
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.errors import AlreadyMember, InvitationNotFound
from mushu.server.gate.invitations import accept, get_answerable
from mushu.server.orgs.members import Invitee, decline_invitation
from mushu.server.orgs.service import get_org
from mushu.server.web.error_pages import error_page, pages_for_people
from mushu.server.web.guard import in_browser
from mushu.server.web.pages import EmptyForm
from mushu.server.web.sessions import require_session_user

PAGES = pages_for_people("invitation_pages")


@PAGES.get("/invites/<token>")
@in_browser
def show_invitation(token: str) -> tuple[str, int]:
    """Show what the invitation is into; looking does not use it up."""
    try:
        with reading(db.session):
            invitation = get_answerable(db.session, get_core().clock, _invitee(), Secret(token))
            org = get_org(db.session, invitation.org_id)
    except InvitationNotFound as error:
        return error_page(error)
    return render_template("invitation.html", form=EmptyForm(), invitation=invitation, org=org), HTTPStatus.OK


@PAGES.post("/invites/<token>")
@in_browser
def answer_invitation(token: str) -> tuple[str, int]:
    """Join or decline."""
    if not EmptyForm().validate():
        abort(HTTPStatus.BAD_REQUEST)
    join = request.form.get("decision") == "join"
    try:
        (_join if join else _decline)(Secret(token))
    except InvitationNotFound as error:
        return error_page(error)
    except AlreadyMember as error:
        return error_page(error, HTTPStatus.CONFLICT)
    return render_template("invitation_answered.html", joined=join), HTTPStatus.OK


def _join(token: Secret) -> None:
    accept(db.session, get_core().clock, _invitee(), token)


def _decline(token: Secret) -> None:
    with writing(db.session):
        decline_invitation(db.session, get_core().clock, _invitee(), token)


def _invitee() -> Invitee:
    user = require_session_user()
    return Invitee(user.id, user.email)
