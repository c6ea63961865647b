from datetime import timedelta
from typing import Any

import click

from mushu.cli.answers import without_secrets
from mushu.cli.keyring import ENVIRONMENTS, Environment, Keyring
from mushu.cli.options import (
    DurationType,
    IdType,
    always_json,
    as_json,
    ask,
    connecting,
    from_now,
    org,
    pass_session,
    yes,
)
from mushu.cli.output import Column, print_json, print_rows
from mushu.cli.session import Session
from mushu.cli.showing import print_once

# The least widths are those of the product contract's listing.
_COLUMNS = (
    Column("key_id", "KEY_ID", 11),
    Column("name", "NAME", 16),
    Column("scopes", "SCOPES", 12),
    Column("created_at", "CREATED", is_day=True),
)
_STATE = Column("state", "STATE")
_key_id = click.argument("key_id", type=IdType())


@click.group()
def keys() -> None:
    """API keys: create them, and put them straight where they are used."""


@keys.command("create")
@click.option("--name", required=True, help="What the key is for.")
@org
@click.option("--scopes", metavar="SCOPES", help="Of read, write, admin; read,write if left out.")
@click.option("--env", type=click.Choice(ENVIRONMENTS), default="live", show_default=True)
@click.option("--expires", type=DurationType(), help="How long it lives, such as 90d; for ever if left out.")
@click.option("--to", "uris", multiple=True, metavar="URI", help="Put it there unseen, as in env:.env; repeatable.")
@click.option("--force", is_flag=True, help="Overwrite a value that the destination holds.")
@connecting
@always_json
@pass_session
def create(
    session: Session,
    name: str,
    org: str | None,
    scopes: str | None,
    env: Environment,
    expires: timedelta | None,
    uris: tuple[str, ...],
    force: bool,
) -> None:
    """Create a key, and print it this one time, or deliver it with --to and print it never."""
    if force and not uris:
        raise click.UsageError("--force is about what a destination holds: it needs --to.")
    request: dict[str, Any] = {"name": name}
    if scopes is not None:
        request["scopes"] = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    if expires is not None:
        request["expires_at"] = from_now(expires)
    if uris:
        from mushu.cli.delivery import deliver
        from mushu.cli.stops import open_stops

        stops = open_stops(uris)
        print_json(deliver(_keyring(session, org), env, request, stops, force=force))
    else:
        print_once(_keyring(session, org), env, request)


@keys.command("list")
@org
@click.option("--all", "with_deleted", is_flag=True, help="Deleted and failed keys, too, with their states.")
@connecting
@as_json
@pass_session
def list_(session: Session, org: str | None, with_deleted: bool, as_json: bool) -> None:
    """List the keys of an organization, newest first, live and test."""
    rows = [without_secrets(key) for key in _keyring(session, org).list_all(with_deleted=with_deleted)]
    print_rows((*_COLUMNS, _STATE) if with_deleted else _COLUMNS, rows, json_wanted=as_json)


@keys.command("show")
@_key_id
@org
@connecting
@always_json
@pass_session
def show(session: Session, key_id: str, org: str | None) -> None:
    """Show all that may be known of a key."""
    print_json(without_secrets(_keyring(session, org).show(key_id)))


@keys.command("rename")
@_key_id
@click.argument("name")
@org
@connecting
@always_json
@pass_session
def rename(session: Session, key_id: str, name: str, org: str | None) -> None:
    """Give a key another name."""
    print_json(without_secrets(_keyring(session, org).rename(key_id, name)))


@keys.command("disable")
@_key_id
@org
@connecting
@always_json
@pass_session
def disable(session: Session, key_id: str, org: str | None) -> None:
    """Refuse a key from now on, until it is enabled again."""
    print_json(without_secrets(_keyring(session, org).change(key_id, "disable")))


@keys.command("enable")
@_key_id
@org
@connecting
@always_json
@pass_session
def enable(session: Session, key_id: str, org: str | None) -> None:
    """Let a disabled key work again."""
    print_json(without_secrets(_keyring(session, org).change(key_id, "enable")))


@keys.command("delete")
@_key_id
@org
@yes
@connecting
@always_json
@pass_session
def delete(session: Session, key_id: str, org: str | None, yes: bool) -> None:
    """Delete a key for good: the very next request with it is refused."""
    keyring = _keyring(session, org)
    ask(f"Delete {key_id} for good? Requests with it fail at once.", agreed=yes)
    keyring.delete(key_id)
    print_json({"key_id": key_id, "deleted": True})


def _keyring(session: Session, org: str | None) -> Keyring:
    return Keyring(session.api(), session.required_org(org))
