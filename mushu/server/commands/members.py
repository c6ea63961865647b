import click

from mushu.server import answers
from mushu.server.commands.common import AdminGroup, as_json, operator, print_json, print_rows
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.orgs import members as service
from mushu.server.orgs.roles import Role
from mushu.server.orgs.service import resolve_org
from mushu.server.users.service import emails_of, get_user_by_email

_role = click.option(
    "--role", required=True, type=click.Choice([Role.ADMIN.value, Role.MEMBER.value]), help="What the user may do."
)


@click.group(cls=AdminGroup)
def members() -> None:
    """Who belongs to an organization. ORG is an id or an exact name."""


@members.command("add")
@click.argument("org")
@click.argument("email")
@_role
def add(org: str, email: str, role: str) -> None:
    """Let a user into an organization."""
    with writing(db.session):
        found, user = resolve_org(db.session, org), get_user_by_email(db.session, email)
        member = service.add_member(db.session, get_core().clock, operator(), found.id, user.id, Role(role))
    print_json(answers.member(member, user.email))


@members.command("list")
@click.argument("org")
@as_json
def list_(org: str, as_json: bool) -> None:
    """List who belongs to an organization."""
    with reading(db.session):
        found = service.list_members(db.session, resolve_org(db.session, org).id)
        emails = emails_of(db.session, [member.user_id for member in found])
    rows = [answers.member(member, emails[member.user_id]) for member in found]
    columns = {"user_id": "USER_ID", "email": "EMAIL", "role": "ROLE", "joined_at": "JOINED"}
    print_rows(rows, columns, json_wanted=as_json)


@members.command("set-role")
@click.argument("org")
@click.argument("email")
@_role
def set_role(org: str, email: str, role: str) -> None:
    """Give a member another role."""
    with writing(db.session):
        found, user = resolve_org(db.session, org), get_user_by_email(db.session, email)
        member = service.get_member(db.session, found.id, user.id)
        service.set_role(db.session, get_core().clock, operator(), member, Role(role))
    print_json(answers.member(member, user.email))


@members.command("remove")
@click.argument("org")
@click.argument("email")
def remove(org: str, email: str) -> None:
    """Take a member out of an organization."""
    with writing(db.session):
        found, user = resolve_org(db.session, org), get_user_by_email(db.session, email)
        member = service.get_member(db.session, found.id, user.id)
        service.remove_member(db.session, get_core().clock, operator(), member)
    print_json({"user_id": user.id, "org_id": found.id, "removed": True})
