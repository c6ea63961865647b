"""`mushu org`: organizations, their settings and members, and which one commands are about."""

from typing import TYPE_CHECKING, Any, Final

import click

from mushu.cli.answers import id_of, text_of
from mushu.cli.config import ORGS, choose_at
from mushu.cli.errors import Failure
from mushu.cli.options import always_json, as_json, connecting, pass_session
from mushu.cli.options import org as of_org
from mushu.cli.output import Column, print_json, print_rows, say
from mushu.cli.session import Session

if TYPE_CHECKING:
    from mushu.cli.client.api import Api

_COLUMNS = (Column("org_id", "ORG_ID"), Column("name", "NAME"), Column("created_at", "CREATED", is_day=True))
_MEMBERS = (
    Column("user_id", "USER_ID"),
    Column("email", "EMAIL"),
    Column("role", "ROLE"),
    Column("joined_at", "JOINED", is_day=True),
)
_role = click.option("--role", type=click.Choice(["admin", "member"]), required=True, help="What the user may do.")

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
    rows = session.api().rows(("orgs",), "orgs", {})
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


@org.group()
def members() -> None:
    """Who belongs to an organization, and what they may do."""


@members.command("list")
@of_org
@connecting
@as_json
@pass_session
def list_members(session: Session, org: str | None, as_json: bool) -> None:
    """List the members."""
    rows = session.api().rows(("orgs", session.required_org(org), "members"), "members", {})
    print_rows(_MEMBERS, rows, json_wanted=as_json)


@members.command("add")
@click.argument("user_id")
@_role
@of_org
@connecting
@always_json
@pass_session
def add(session: Session, user_id: str, role: str, org: str | None) -> None:
    """Let a user in, by the id that `mushu auth status` shows them."""
    if "@" in user_id:
        raise click.UsageError(
            "A user who is no member yet is named by id, not by address: `mushu auth status` shows it to them."
        )
    body = {"user_id": user_id, "role": role}
    print_json(session.api().post("orgs", session.required_org(org), "members", body=body))


@members.command("set-role")
@click.argument("user", metavar="USER")
@_role
@of_org
@connecting
@always_json
@pass_session
def set_role(session: Session, user: str, role: str, org: str | None) -> None:
    """Give a member another role; USER is an id or an e-mail address."""
    api, org_id = session.api(), session.required_org(org)
    print_json(api.patch("orgs", org_id, "members", _user_id_of(api, org_id, user), body={"role": role}))


@members.command("remove")
@click.argument("user", metavar="USER")
@of_org
@connecting
@always_json
@pass_session
def remove(session: Session, user: str, org: str | None) -> None:
    """Take a member out; USER is an id or an e-mail address."""
    api, org_id = session.api(), session.required_org(org)
    user_id = _user_id_of(api, org_id, user)
    api.delete("orgs", org_id, "members", user_id)
    print_json({"user_id": user_id, "org_id": org_id, "removed": True})


def _user_id_of(api: "Api", org_id: str, id_or_email: str) -> str:
    """Return the id of the member with this id or e-mail address.

    Raises:
        Failure: no member has the address.
    """
    if "@" not in id_or_email:
        return id_or_email
    wanted = id_or_email.strip().casefold()
    for member in api.rows(("orgs", org_id, "members"), "members", {}):
        if str(member.get("email", "")).casefold() == wanted:
            return id_of(member, "user_id")
    raise Failure(f"{id_or_email} is no member. `mushu org members list` shows who is.")


def _listed(value: str | None) -> list[str] | str | None:
    return value if value in (None, _NOTHING) else [item.strip() for item in value.split(",") if item.strip()]
