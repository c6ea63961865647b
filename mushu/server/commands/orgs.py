"""`flask orgs`: organizations."""

import os

import click

from mushu.server import answers
from mushu.server.commands.common import AdminGroup, ask, given, limits, no_limits, operator, operator_context, yes
from mushu.server.commands.printing import as_json, note, print_json, print_rows
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.lifecycle.delete import delete_org
from mushu.server.orgs import service
from mushu.server.orgs.members import get_member, transfer_ownership
from mushu.server.paging import in_pages
from mushu.server.rate_limits import parse_limits
from mushu.server.users.service import get_user_by_email


def _one_org(_ctx: click.Context, _param: click.Parameter, named: tuple[str, ...]) -> str | None:
    if len(named) > 1:
        raise click.UsageError("Name one organization. A name with blanks needs quotes.")
    return named[0] if named else os.environ.get("MUSHU_ORG_ID") or None


#: May be left out, also before other arguments; not for what changes the organization itself.
org_argument = click.argument("org", nargs=-1, metavar="[ORG]", callback=_one_org)


@click.group(cls=AdminGroup)
def orgs() -> None:
    """Organizations. ORG is an id or an exact name."""


@orgs.command("create")
@click.argument("name")
@click.option("--owner", required=True, metavar="EMAIL", help="The user who owns it.")
def create(name: str, owner: str) -> None:
    """Create an organization."""
    with writing(db.session):
        user = get_user_by_email(db.session, owner)
        org = service.create_org(db.session, get_core().clock, operator(), name, user.id)
    print_json(answers.org(org))


@orgs.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List all organizations."""
    rows = in_pages(db.session, lambda window: service.list_orgs(db.session, window).shown(answers.org))
    print_rows(rows, {"org_id": "ORG_ID", "name": "NAME", "created_at": "CREATED"}, json_wanted=as_json)


@orgs.command("show")
@org_argument
def show(org: str | None) -> None:
    """Show an organization; if left out, MUSHU_ORG_ID or the only one."""
    with reading(db.session):
        print_json(answers.org(service.resolve_org(db.session, org)))


@orgs.command("rename")
@click.argument("org")
@click.argument("name")
def rename(org: str, name: str) -> None:
    """Give an organization another name."""
    with writing(db.session):
        found = service.resolve_org(db.session, org)
        service.rename_org(db.session, get_core().clock, operator(), found, name)
    print_json(answers.org(found))


@orgs.command("update")
@click.argument("org")
@limits
@no_limits
def update(org: str, limits: tuple[str, ...], no_limits: bool) -> None:
    """Change how often all keys of an organization together may be used."""
    wanted = given("limit", limits, none=no_limits)
    if wanted is None:
        raise click.UsageError("Say what is to change: --limit, or --no-limits.")
    with writing(db.session):
        found = service.resolve_org(db.session, org)
        service.limit_org(db.session, get_core().clock, operator(), found, parse_limits(wanted))
    print_json(answers.org(found))


@orgs.command("transfer")
@click.argument("org")
@click.argument("email")
def transfer(org: str, email: str) -> None:
    """Make a member the owner; who was it becomes an admin."""
    with writing(db.session):
        found, user = service.resolve_org(db.session, org), get_user_by_email(db.session, email)
        member = get_member(db.session, found.id, user.id)
        member = transfer_ownership(db.session, get_core().clock, operator(), found, member)
    print_json(answers.member(member, user.email))


@orgs.command("delete")
@click.argument("org")
@yes
def delete(org: str, yes: bool) -> None:
    """Delete an organization and every key it has."""
    with reading(db.session):
        found = service.resolve_org(db.session, org)
    ask(f"Delete {found.name} ({found.id}) and every API key it has, for good?", agreed=yes)
    findings = delete_org(operator_context(), found.id, get_core().resources.on_org_deleted)
    for finding in findings:
        note(f"{finding.key_id}: {finding.detail}")
    print_json({"org_id": found.id, "deleted": True})
