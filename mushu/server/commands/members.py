"""`flask members`: who belongs to an organization, and who is invited."""

from functools import partial

import click

from mushu.server import answers
from mushu.server.commands.common import AdminGroup, operator
from mushu.server.commands.orgs import org_argument
from mushu.server.commands.printing import as_json, print_json, print_once, print_rows
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.orgs import invitations
from mushu.server.orgs import members as service
from mushu.server.orgs.invitations import DEFAULT_DAYS, MAX_DAYS, InvitationStatus, InvitationTerms
from mushu.server.orgs.models import Role
from mushu.server.orgs.service import resolve_org
from mushu.server.orgs.settings import refuse_foreign
from mushu.server.paging import Page, Window, in_pages
from mushu.server.users.service import checked_email, emails_of, get_user_by_email

_role = click.option(
    "--role", required=True, type=click.Choice([Role.ADMIN.value, Role.MEMBER.value]), help="What the user may do."
)


@click.group(cls=AdminGroup)
def members() -> None:
    """Who belongs to an organization. ORG is an id or an exact name; if left out, MUSHU_ORG_ID or the only one."""


@members.command("add")
@org_argument
@click.argument("email")
@_role
def add(org: str | None, email: str, role: str) -> None:
    """Let a user into an organization."""
    with writing(db.session):
        found, user = resolve_org(db.session, org), get_user_by_email(db.session, email)
        refuse_foreign(db.session, found.id, user.email)
        member = service.add_member(db.session, get_core().clock, operator(), found.id, user.id, Role(role))
    print_json(answers.member(member, user.email))


@members.command("list")
@org_argument
@as_json
def list_(org: str | None, as_json: bool) -> None:
    """List who belongs to an organization."""
    with reading(db.session):
        org_id = resolve_org(db.session, org).id
    rows = in_pages(db.session, partial(_shown_members, org_id))
    columns = {"user_id": "USER_ID", "email": "EMAIL", "role": "ROLE", "joined_at": "JOINED"}
    print_rows(rows, columns, json_wanted=as_json)


def _shown_members(org_id: str, window: Window) -> Page[answers.Answer]:
    page = service.list_members(db.session, org_id, window)
    emails = emails_of(db.session, [member.user_id for member in page.rows])
    return page.shown(lambda member: answers.member(member, emails[member.user_id]))


@members.command("set-role")
@org_argument
@click.argument("email")
@_role
def set_role(org: str | None, email: str, role: str) -> None:
    """Give a member another role."""
    with writing(db.session):
        found, user = resolve_org(db.session, org), get_user_by_email(db.session, email)
        member = service.get_member(db.session, found.id, user.id)
        service.set_role(db.session, get_core().clock, operator(), member, Role(role))
    print_json(answers.member(member, user.email))


@members.command("remove")
@org_argument
@click.argument("email")
def remove(org: str | None, email: str) -> None:
    """Take a member out of an organization."""
    with writing(db.session):
        found, user = resolve_org(db.session, org), get_user_by_email(db.session, email)
        member = service.get_member(db.session, found.id, user.id)
        service.remove_member(db.session, get_core().clock, operator(), member)
    print_json({"user_id": user.id, "org_id": found.id, "removed": True})


@members.command("invite")
@org_argument
@click.option("--email", help="Invite the user who has this address, or will have it.")
@click.option("--link", is_flag=True, help="Invite whoever is the first to accept.")
@_role
@click.option(
    "--expires-days",
    default=DEFAULT_DAYS,
    show_default=True,
    type=click.IntRange(1, MAX_DAYS),
    help="How long it lasts.",
)
def invite(org: str | None, email: str | None, link: bool, role: str, expires_days: int) -> None:
    """Invite somebody into an organization. Nothing is sent: hand the url that is printed over yourself."""
    if (email is None) is not link:
        raise click.UsageError("Say who is invited: either --email ADDRESS or --link.")
    core, terms = get_core(), InvitationTerms(role, expires_days)
    with writing(db.session):
        found = resolve_org(db.session, org)
        if email is None:
            created, token = invitations.invite_by_link(db.session, core.clock, operator(), found, terms)
        else:
            address = checked_email(email)
            created, token = invitations.invite_by_email(db.session, core.clock, operator(), found, terms, address)
    url = f"{core.settings.base_url}/invites/{token.reveal()}"
    print_once(
        answers.invitation(created, found.name, core.clock(), token) | {"url": url},
        partial(_end_invitation, found.id, created.id),
    )


def _end_invitation(org_id: str, invite_id: str) -> str:
    with writing(db.session):
        invitations.cancel_invitation(db.session, get_core().clock, operator(), org_id, invite_id)
    return f"{invite_id} is cancelled. Invite them again."


@members.command("invites")
@org_argument
@click.option("--all", "with_all", is_flag=True, help="Answered, cancelled and expired ones, too.")
@as_json
def invites(org: str | None, with_all: bool, as_json: bool) -> None:
    """List the invitations into an organization that are not answered yet, newest first."""
    clock = get_core().clock
    with reading(db.session):
        found = resolve_org(db.session, org)
    status = None if with_all else InvitationStatus.PENDING
    rows = in_pages(
        db.session,
        lambda window: invitations.list_invitations(db.session, clock, found.id, status, window).shown(
            lambda one: answers.invitation(one, found.name, clock())
        ),
    )
    columns = {
        "invite_id": "INVITE_ID",
        "invite_type": "TYPE",
        "email": "EMAIL",
        "role": "ROLE",
        "status": "STATUS",
        "expires_at": "EXPIRES",
    }
    print_rows(rows, columns, json_wanted=as_json)


@members.command("cancel-invite")
@org_argument
@click.argument("invite_id")
def cancel_invite(org: str | None, invite_id: str) -> None:
    """Cancel an invitation that was not answered yet."""
    with writing(db.session):
        found = resolve_org(db.session, org)
        invitations.cancel_invitation(db.session, get_core().clock, operator(), found.id, invite_id)
    print_json({"invite_id": invite_id, "org_id": found.id, "cancelled": True})
