import click

from mushu.cli import storage
from mushu.cli.answers import rows_of, text_of
from mushu.cli.members import members
from mushu.cli.options import always_json, as_json, connecting, pass_session
from mushu.cli.org_settings import settings
from mushu.cli.output import Column, print_json, print_rows, say
from mushu.cli.session import ORGS, Session

_COLUMNS = (Column("org_id", "ORG_ID"), Column("name", "NAME"), Column("created_at", "CREATED", is_day=True))


@click.group()
def org() -> None:
    """Organizations, which own API keys, and their members."""


@org.command("create")
@click.argument("name")
@connecting
@always_json
@pass_session
def create(session: Session, name: str) -> None:
    """Create an organization that you own."""
    print_json(session.api().post("orgs", body={"name": name}))


@org.command("list")
@connecting
@as_json
@pass_session
def list_(session: Session, as_json: bool) -> None:
    """List the organizations that you belong to."""
    rows = rows_of(session.api().get("orgs"), "orgs")
    print_rows(_COLUMNS, rows, json_wanted=as_json)


@org.command("show")
@click.argument("org", metavar="[ORG]", required=False)
@connecting
@always_json
@pass_session
def show(session: Session, org: str | None) -> None:
    """Show an organization, by id or exact name."""
    print_json(session.api().get("orgs", session.required_org(org)))


@org.command("use")
@click.argument("org")
@connecting
@as_json
@pass_session
def use(session: Session, org: str, as_json: bool) -> None:
    """Make an organization the one that every command is about, on this server."""
    found = session.api().get("orgs", session.required_org(org))
    org_id, url = text_of(found, "org_id"), session.url().value
    with storage.changing(storage.CONFIG) as config:
        orgs = config.get(ORGS)
        config[ORGS] = (orgs if isinstance(orgs, dict) else {}) | {url: org_id}
    if as_json:
        print_json({"org_id": org_id, "name": found.get("name")})
    else:
        say(f"Commands to {url} are about {org_id} ({found.get('name')}) from now on.")


org.add_command(members)
org.add_command(settings)
