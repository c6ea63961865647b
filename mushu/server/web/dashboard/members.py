"""Who belongs to an organization, in which role; an admin changes that, and the owner hands the organization over."""

from http import HTTPStatus
from typing import Final

from flask import Response, flash, redirect, request
from werkzeug import Response as BaseResponse

from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.keys import Scope
from mushu.server.orgs.invitations import DEFAULT_DAYS, MAX_DAYS, InvitationStatus, list_invitations
from mushu.server.orgs.members import get_member, list_members, remove_member, set_role, transfer_ownership
from mushu.server.orgs.models import OrgInvitation, parse_assignable
from mushu.server.orgs.service import get_org, refuse_too_many
from mushu.server.paging import CURSOR_LENGTH, Page, Window
from mushu.server.users.service import emails_of
from mushu.server.web.dashboard.key_form import new_token
from mushu.server.web.dashboard.shell import is_admin, page, to
from mushu.server.web.guard import current_org, current_principal, org_page

#: Members, and open invitations, of one page.
_PAGE: Final = 50


@org_page(Scope.READ)
def show_members(org_id: str) -> Response:  # noqa: ARG001 - the session has it
    """Show who belongs to the organization; to admins, who is invited, too."""
    return members_page()


@org_page(Scope.ADMIN, changes_shared=True)
def set_member_role(org_id: str, user_id: str) -> BaseResponse:
    """Give a member another role; the owner's cannot be changed."""
    role = parse_assignable(request.form.get("role", ""))
    with writing(db.session):
        member = get_member(db.session, org_id, user_id)
        set_role(db.session, get_core().clock, current_principal().actor, member, role)
    flash(f"{_email(user_id)} has the role {role} from now on.")
    return to_members()


@org_page(Scope.ADMIN)
def ask_to_remove_member(org_id: str, user_id: str) -> Response:
    """Say what removing a member would do."""
    return _ask("remove_member", org_id, user_id)


@org_page(Scope.ADMIN, changes_shared=True)
def take_member_out(org_id: str, user_id: str) -> BaseResponse:
    """Take a member out of the organization; the owner cannot be removed."""
    with writing(db.session):
        member = get_member(db.session, org_id, user_id)
        remove_member(db.session, get_core().clock, current_principal().actor, member)
    flash(f"{_email(user_id)} is no member any more.")
    return to_members()


@org_page(Scope.ADMIN, owner_only=True)
def ask_to_hand_over(org_id: str, user_id: str) -> Response:
    """Say what handing the organization over would do."""
    return _ask("hand_over", org_id, user_id)


@org_page(Scope.ADMIN, owner_only=True, changes_shared=True)
def hand_over(org_id: str, user_id: str) -> BaseResponse:
    """Make another member the owner, where the name of the organization is typed."""
    core = get_core()
    with reading(db.session):
        name = get_org(db.session, org_id).name
    if request.form.get("confirm", "").strip() not in (name, org_id):
        return _ask("hand_over", org_id, user_id, "That is neither its name nor its id. Nothing was changed.")
    with writing(db.session):
        member = get_member(db.session, org_id, user_id)
        refuse_too_many(db.session, core.clock, user_id, core.settings.orgs_per_user)
        org = get_org(db.session, org_id)
        transfer_ownership(db.session, core.clock, current_principal().actor, org, member)
    flash(f"{_email(user_id)} owns {name} from now on, and you are an admin.")
    return to_members()


def members_page(fault: str | None = None) -> Response:
    """Return the page of members, with what is wrong with the form that invites."""
    org_id, clock = current_org(), get_core().clock
    cursor = request.args.get("cursor", "")[:CURSOR_LENGTH] or None
    with reading(db.session):
        members = list_members(db.session, org_id, Window(_PAGE, cursor))
        invited: Page[OrgInvitation] = Page([], None)
        if is_admin():
            invited = list_invitations(db.session, clock, org_id, InvitationStatus.PENDING, Window(_PAGE))
        emails = emails_of(db.session, [one.user_id for one in members.rows] + [one.invited_by for one in invited.rows])
    status = HTTPStatus.OK if fault is None else HTTPStatus.UNPROCESSABLE_ENTITY
    form = {"email": "", "role": "member", "days": str(DEFAULT_DAYS)} | request.form.to_dict()
    return page(
        "members", status, members=members, invited=invited, emails=emails, cursor=cursor, fault=fault, form=form,
        most=MAX_DAYS, form_token=new_token(),
    )  # fmt: skip


def to_members() -> BaseResponse:
    """Lead to the page of members."""
    return redirect(to("show_members"), HTTPStatus.SEE_OTHER)


def _ask(question: str, org_id: str, user_id: str, fault: str | None = None) -> Response:
    with reading(db.session):
        member = get_member(db.session, org_id, user_id)
        email = emails_of(db.session, [user_id])[user_id]
    status = HTTPStatus.OK if fault is None else HTTPStatus.UNPROCESSABLE_ENTITY
    return page(question, status, member=member, email=email, fault=fault)


def _email(user_id: str) -> str:
    with reading(db.session):
        return emails_of(db.session, [user_id])[user_id]


PAGES: Final = (
    ("GET", "/members", show_members),
    ("POST", "/members/<user_id>/role", set_member_role),
    ("GET", "/members/<user_id>/remove", ask_to_remove_member),
    ("POST", "/members/<user_id>/remove", take_member_out),
    ("GET", "/members/<user_id>/hand-over", ask_to_hand_over),
    ("POST", "/members/<user_id>/hand-over", hand_over),
)
