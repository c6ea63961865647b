"""`mushu org`: organizations, their settings, and which one commands are about."""

from typing import Any, Final

import click

from mushu.cli.answers import rows_of, text_of
from mushu.cli.commands.members import members
from mushu.cli.config import ORGS, choose_at
from mushu.cli.options import always_json, as_json, connecting, pass_session
from mushu.cli.output import Column, print_json, print_rows, say
from mushu.cli.session import Session

_COLUMNS = (Column("org_id", "ORG_ID"), Column("name", "NAME"), Column("created_at", "CREATED", is_day=True))

#: Takes a setting back.
_NOTHING: Final = "none"


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
    choose_at(url, ORGS, org_id)
    if as_json:
        print_json({"org_id": org_id, "name": found.get("name")})
    else:
        say(f"Commands to {url} are about {org_id} ({found.get('name')}) from now on.")


@org.command("settings")
@click.argument("org", metavar="[ORG]", required=False)
@click.option("--default-scopes", metavar="SCOPES", help="Of a new key that names none, as read,write.")
@click.option("--default-lifetime", metavar="DURATION", help="Of a new key that says nothing else, as 60d.")
@click.option("--default-rotate-every", metavar="DURATION", help="For a new key that says nothing else, as 30d.")
@click.option("--max-key-age", metavar="DURATION", help="How long a new key may live at the most, as 90d.")
@click.option("--email-domains", metavar="DOMAINS", help="Of new members' addresses, as example.com,example.org.")
@connecting
@always_json
@pass_session
def settings(
    session: Session,
    org: str | None,
    default_scopes: str | None,
    default_lifetime: str | None,
    default_rotate_every: str | None,
    max_key_age: str | None,
    email_domains: str | None,
) -> None:
    """Show the settings of an organization, or change those that are given; `none` takes one back."""
    given: dict[str, Any] = {
        "default_scopes": _listed(default_scopes),
        "default_lifetime": default_lifetime,
        "default_rotate_every": default_rotate_every,
        "max_key_age": max_key_age,
        "email_domains": _listed(email_domains),
    }
    changes = {name: None if value == _NOTHING else value for name, value in given.items() if value is not None}
    path = ("orgs", session.required_org(org), "settings")
    print_json(session.api().patch(*path, body=changes) if changes else session.api().get(*path))


def _listed(value: str | None) -> list[str] | str | None:
    return value if value in (None, _NOTHING) else [item.strip() for item in value.split(",") if item.strip()]


org.add_command(members)
