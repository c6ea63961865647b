from datetime import timedelta
from functools import partial
from typing import Any, Final

import click

from mushu.cli.answers import without_secrets
from mushu.cli.key_rotation import deliveries, rotate
from mushu.cli.keyring import ENVIRONMENTS, Environment, keyring_of
from mushu.cli.options import (
    DurationType,
    always_json,
    as_json,
    ask,
    connecting,
    deliver_to,
    from_now,
    key_id,
    org,
    pass_session,
    written,
    yes,
)
from mushu.cli.output import Column, print_json, print_rows
from mushu.cli.session import Session
from mushu.cli.showing import print_new

# The least widths are those of the product contract's listing.
_COLUMNS = (
    Column("key_id", "KEY_ID", 11),
    Column("name", "NAME", 16),
    Column("scopes", "SCOPES", 12),
    Column("created_at", "CREATED", is_day=True),
)
_STATE = Column("state", "STATE")
_UNHEARD: Final = "A key may have been created all the same: see `mushu api-key list`."
_LOST: Final = "Delete it with `mushu api-key delete {key_id}`, and create another."


@click.group()
def keys() -> None:
    """API keys: create them, and put them straight where they are used."""


@keys.command("create")
@click.option("--name", required=True, help="What the key is for.")
@org
@click.option("--scopes", metavar="SCOPES", help="Of read, write, admin; read,write if left out.")
@click.option("--env", type=click.Choice(ENVIRONMENTS), default="live", show_default=True)
@click.option("--expires", type=DurationType(), help="How long it lives, such as 90d; for ever if left out.")
@click.option("--rotate-every", type=DurationType(), help="After how long it is due to be rotated, such as 90d.")
@click.option("--to", "uris", multiple=True, metavar="URI", help="Put it there unseen, as in env:.env; repeatable.")
@deliver_to
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
    rotate_every: timedelta | None,
    uris: tuple[str, ...],
    names: tuple[str, ...],
    force: bool,
) -> None:
    """Create a key, and print it this one time, or deliver it with --to or --deliver-to and print it never."""
    if uris and names:
        raise click.UsageError(
            "A key is put somewhere from here (--to) or by the server (--deliver-to). One of the two."
        )
    if force and not uris:
        raise click.UsageError("--force is about what a destination holds: it needs --to.")
    request = _request(name, scopes, expires, rotate_every)
    if uris:
        from mushu.cli.delivery import deliver, open_targets
        from mushu.cli.holders import OverwriteRule
        from mushu.cli.pending import PendingKey

        targets, keyring = open_targets(uris), keyring_of(session, org)
        mint = partial(PendingKey.create, keyring, env, request)
        print_json(deliver(mint, targets, OverwriteRule(keyring, force=force)))
    else:
        named = {"deliver_to": list(names)} if names else {}
        print_new(partial(keyring_of(session, org).create, env, request | named), _UNHEARD, _LOST)


def _request(
    name: str, scopes: str | None, expires: timedelta | None, rotate_every: timedelta | None
) -> dict[str, Any]:
    """Return what is asked for; what was left out is left to the server."""
    request: dict[str, Any] = {"name": name}
    if scopes is not None:
        request["scopes"] = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    if expires is not None:
        request["expires_at"] = from_now(expires)
    if rotate_every is not None:
        request["rotate_every"] = written(rotate_every)
    return request


@keys.command("list")
@org
@click.option("--all", "with_deleted", is_flag=True, help="Deleted and failed keys, too, with their states.")
@connecting
@as_json
@pass_session
def list_(session: Session, org: str | None, with_deleted: bool, as_json: bool) -> None:
    """List the keys of an organization, newest first, live and test."""
    rows = [without_secrets(key) for key in keyring_of(session, org).list_all(with_deleted=with_deleted)]
    print_rows((*_COLUMNS, _STATE) if with_deleted else _COLUMNS, rows, json_wanted=as_json)


@keys.command("show")
@key_id
@org
@connecting
@always_json
@pass_session
def show(session: Session, key_id: str, org: str | None) -> None:
    """Show all that may be known of a key."""
    print_json(without_secrets(keyring_of(session, org).show(key_id)))


@keys.command("rename")
@key_id
@click.argument("name")
@org
@connecting
@always_json
@pass_session
def rename(session: Session, key_id: str, name: str, org: str | None) -> None:
    """Give a key another name."""
    print_json(without_secrets(keyring_of(session, org).rename(key_id, name)))


@keys.command("disable")
@key_id
@org
@connecting
@always_json
@pass_session
def disable(session: Session, key_id: str, org: str | None) -> None:
    """Refuse a key from now on, until it is enabled again."""
    print_json(without_secrets(keyring_of(session, org).change(key_id, "disable")))


@keys.command("enable")
@key_id
@org
@connecting
@always_json
@pass_session
def enable(session: Session, key_id: str, org: str | None) -> None:
    """Let a disabled key work again."""
    print_json(without_secrets(keyring_of(session, org).change(key_id, "enable")))


@keys.command("delete")
@key_id
@org
@yes
@connecting
@always_json
@pass_session
def delete(session: Session, key_id: str, org: str | None, yes: bool) -> None:
    """Delete a key for good: the very next request with it is refused."""
    keyring = keyring_of(session, org)
    ask(f"Delete {key_id} for good? Requests with it fail at once.", agreed=yes)
    keyring.delete(key_id)
    print_json({"key_id": key_id, "deleted": True})


for command in (rotate, deliveries):
    keys.add_command(command)
