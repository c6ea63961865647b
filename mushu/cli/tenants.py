"""Tenants: the apps that notifications are sent to, and their credentials for Apple's push service."""

from typing import Any

import click

from mushu.cli import storage
from mushu.cli.answers import without_secrets
from mushu.cli.apple import apple_key, read_apple_key
from mushu.cli.keyring import Environment
from mushu.cli.options import IdType, always_json, as_json, ask, connecting, env, org, pass_session, yes
from mushu.cli.output import Column, print_json, print_rows, say
from mushu.cli.session import TENANTS, Session
from mushu.cli.sides import newest_first

_COLUMNS = (
    Column("tenant_id", "TENANT_ID"),
    Column("bundle_id", "BUNDLE_ID"),
    Column("team_id", "TEAM_ID"),
    Column("environment", "ENV"),
    Column("created_at", "CREATED", is_day=True),
)
_tenant_id = click.argument("tenant_id", type=IdType())


@click.group()
def tenant() -> None:
    """Tenants: the apps that notifications are sent to."""


@tenant.command("create")
@click.option("--bundle-id", "-b", required=True, help="Apple's name for the app, such as com.example.shop.")
@apple_key(required=False)
@click.option("--sandbox/--production", "use_sandbox", default=None, help="Which of Apple's servers; production.")
@org
@env
@connecting
@always_json
@pass_session
def create(
    session: Session,
    bundle_id: str,
    team_id: str | None,
    key_id: str | None,
    private_key_file: str | None,
    use_sandbox: bool | None,
    org: str | None,
    env: Environment | None,
) -> None:
    """Create a tenant; without Apple's credentials, its notifications go to its outbox."""
    body: dict[str, Any] = {"bundle_id": bundle_id} | (read_apple_key(team_id, key_id, private_key_file) or {})
    sides = session.sides()
    side = sides.one(env)
    if use_sandbox is not None:
        body["use_sandbox"] = use_sandbox
    if org is not None or not sides.credential.is_key:  # a key belongs to one organization, and the server knows which
        body["org_id"] = session.org_of(sides, org)
    print_json(without_secrets(side.post_once("tenants", body=body)))


@tenant.command("list")
@org
@connecting
@as_json
@pass_session
def list_(session: Session, org: str | None, as_json: bool) -> None:
    """List the tenants of an organization, newest first, live and test."""
    sides = session.sides()
    org_id = session.org_of(sides, org)
    rows = [row for side in sides.all for row in side.rows("orgs", org_id, "tenants", field="tenants")]
    print_rows(_COLUMNS, newest_first(rows, "tenant_id"), json_wanted=as_json)


@tenant.command("show")
@_tenant_id
@connecting
@always_json
@pass_session
def show(session: Session, tenant_id: str) -> None:
    """Show a tenant; its private key is shown to nobody."""
    found = session.sides().wherever(f"tenant {tenant_id}", lambda side: side.get("tenants", tenant_id))
    print_json(without_secrets(found))


@tenant.command("use")
@_tenant_id
@connecting
@as_json
@pass_session
def use(session: Session, tenant_id: str, as_json: bool) -> None:
    """Make a tenant the one that every command is about, on this server."""
    found = session.sides().wherever(f"tenant {tenant_id}", lambda side: side.get("tenants", tenant_id))
    url = session.url().value
    with storage.changing(storage.CONFIG) as config:
        tenants = config.get(TENANTS)
        config[TENANTS] = (tenants if isinstance(tenants, dict) else {}) | {url: tenant_id}
    if as_json:
        print_json({"tenant_id": tenant_id, "bundle_id": found.get("bundle_id")})
    else:
        say(f"Commands to {url} are about {tenant_id} ({found.get('bundle_id')}) from now on.")


@tenant.command("delete")
@_tenant_id
@yes
@connecting
@always_json
@pass_session
def delete(session: Session, tenant_id: str, yes: bool) -> None:
    """Delete a tenant with its credentials, its devices and its media."""
    sides = session.sides()
    ask(f"Delete {tenant_id}, with its credentials, its devices and its media?", agreed=yes)
    sides.wherever(f"tenant {tenant_id}", lambda side: side.delete("tenants", tenant_id))
    print_json({"tenant_id": tenant_id, "deleted": True})


@tenant.group("credentials")
def credentials() -> None:
    """What a tenant signs with at Apple's push service."""


@credentials.command("set")
@_tenant_id
@apple_key(required=True)
@connecting
@always_json
@pass_session
def set_(session: Session, tenant_id: str, team_id: str, key_id: str, private_key_file: str) -> None:
    """Give a tenant other credentials: from the next notification on."""
    _change(session, tenant_id, read_apple_key(team_id, key_id, private_key_file) or {})


@credentials.command("clear")
@_tenant_id
@yes
@connecting
@always_json
@pass_session
def clear(session: Session, tenant_id: str, yes: bool) -> None:
    """Take a tenant's credentials away: its notifications go to its outbox."""
    ask(f"Take the credentials of {tenant_id} away? Nothing is sent to devices any more.", agreed=yes)
    _change(session, tenant_id, dict.fromkeys(("team_id", "key_id", "private_key")))


def _change(session: Session, tenant_id: str, change: dict[str, Any]) -> None:
    changed = session.sides().wherever(
        f"tenant {tenant_id}", lambda side: side.patch("tenants", tenant_id, body=change)
    )
    print_json(without_secrets(changed))
