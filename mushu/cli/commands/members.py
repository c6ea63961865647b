"""`mushu org members`: who belongs to an organization, and in which role."""

from typing import TYPE_CHECKING

import click

from mushu.cli.answers import id_of, rows_of
from mushu.cli.errors import Failure
from mushu.cli.options import always_json, as_json, connecting, org, pass_session
from mushu.cli.output import Column, print_json, print_rows
from mushu.cli.session import Session

if TYPE_CHECKING:
    from mushu.cli.client.api import Api

_COLUMNS = (
    Column("user_id", "USER_ID"),
    Column("email", "EMAIL"),
    Column("role", "ROLE"),
    Column("joined_at", "JOINED", is_day=True),
)
_role = click.option("--role", type=click.Choice(["admin", "member"]), required=True, help="What the user may do.")


@click.group()
def members() -> None:
    """Who belongs to an organization, and what they may do."""


@members.command("list")
@org
@connecting
@as_json
@pass_session
def list_(session: Session, org: str | None, as_json: bool) -> None:
    """List the members."""
    rows = rows_of(session.api().get("orgs", session.required_org(org), "members"), "members")
    print_rows(_COLUMNS, rows, json_wanted=as_json)


@members.command("add")
@click.argument("user_id")
@_role
@org
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
@org
@connecting
@always_json
@pass_session
def set_role(session: Session, user: str, role: str, org: str | None) -> None:
    """Give a member another role; USER is an id or an e-mail address."""
    api, org_id = session.api(), session.required_org(org)
    print_json(api.patch("orgs", org_id, "members", _user_id_of(api, org_id, user), body={"role": role}))


@members.command("remove")
@click.argument("user", metavar="USER")
@org
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
    for member in rows_of(api.get("orgs", org_id, "members"), "members"):
        if str(member.get("email", "")).casefold() == wanted:
            return id_of(member, "user_id")
    raise Failure(f"{id_or_email} is no member. `mushu org members list` shows who is.")
