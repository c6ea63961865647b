"""`mushu api-key`: create an API key, list, show, rename, update, disable, enable and delete keys."""

from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from mushu.cli.answers import without_secrets
from mushu.cli.client.api_keys import ApiKeys
from mushu.cli.commands.rotation import deliveries, extend, limits, networks, restrictions, rotate, update
from mushu.cli.errors import Failure, misunderstood
from mushu.cli.options import (
    DurationType,
    EnvironmentType,
    always_json,
    as_json,
    ask,
    connecting,
    deliver_to,
    from_now,
    key_id,
    org,
    pass_session,
    yes,
)
from mushu.cli.options import env as of_environment
from mushu.cli.output import Column, note, print_done, print_json, print_new_key, print_rows, say
from mushu.cli.session import Session
from mushu.duration import written_duration
from mushu.environment import Environment

if TYPE_CHECKING:
    from mushu.cli.delivery_record import RecordedDelivery

# The least widths are those of the product contract's listing.
_COLUMNS = (
    Column("key_id", "KEY_ID", 11),
    Column("name", "NAME", 16),
    Column("scopes", "SCOPES", 12),
    Column("created_at", "CREATED", is_day=True),
)
_ENV = Column("environment", "ENV")
_STATE = Column("state", "STATE")
_HYGIENE = (Column("expires_at", "EXPIRES", is_day=True), Column("last_used_at", "LAST_USED", is_day=True))
_STATES: Final = ("pending", "active", "disabled", "retiring", "revoked", "expired", "failed")
_SORTS: Final = ("created", "name", "last_used", "expires")
#: What is asked of the rows of keys; anything else shows when they end and when they were used, too.
_OF_ROWS: Final = ("include_deleted", "name", "search", "state", "scope")
_UNHEARD: Final = "A key may have been created all the same: see `mushu api-key list`."
_LOST: Final = "Delete it with `mushu api-key delete {key_id}`, and create another."


@click.group("api-key")
def api_key() -> None:
    """API keys: create them, and put them straight where they are used."""


@api_key.command("create")
@click.option("--name", required=True, help="What the key is for.")
@org
@click.option("--scopes", metavar="SCOPES", help="Of read, write, admin; read,write if left out.")
@of_environment
@click.option("--expires", type=DurationType(), help="How long it lives, such as 90d; without end if left out.")
@click.option("--rotate-every", type=DurationType(), help="After how long it is due to be rotated, such as 90d.")
@limits
@networks
@click.option("--to", "uris", multiple=True, metavar="URI", help="Put it there unseen, as in env:.env; repeatable.")
@deliver_to
@click.option("--with-url", is_flag=True, help="With --to: put MUSHU_URL beside the key, too, where there is none.")
@click.option("--force", is_flag=True, help="Overwrite a value that the destination holds.")
@connecting
@always_json
@pass_session
def create(
    session: Session,
    name: str,
    org: str | None,
    scopes: str | None,
    env: Environment | None,
    expires: timedelta | None,
    rotate_every: timedelta | None,
    limits: tuple[str, ...],
    networks: tuple[str, ...],
    uris: tuple[str, ...],
    names: tuple[str, ...],
    with_url: bool,
    force: bool,
) -> None:
    """Create a key, and print it this one time, or deliver it with --to or --deliver-to and print it never."""
    if uris and names:
        raise click.UsageError(
            "A key is put somewhere from here (--to) or by the server (--deliver-to). One of the two."
        )
    if (force or with_url) and not uris:
        raise click.UsageError("--force and --with-url are about what a destination holds. They need --to.")
    from mushu.cli.client.new_key import PendingKey, ask_for_key, delete_unused

    request = new_key(name, scopes, expires, rotate_every) | restrictions(limits, networks)
    if uris:
        from mushu.cli.delivery import OverwriteRule, deliver, open_targets, put_url

        targets, keys = open_targets(uris), session.api_keys(org)
        mint = partial(PendingKey.create, keys, keys.environment(env), request)
        print_done(deliver(mint, targets, OverwriteRule(keys, force=force)))
        if with_url:
            put_url(keys.server, targets)
    else:
        named = {"deliver_to": list(names)} if names else {}
        keys = session.api_keys(org)
        create = partial(keys.create, keys.environment(env), request | named)
        print_new_key(ask_for_key(create, _UNHEARD, _LOST), partial(delete_unused, keys, keys.environment(env)))


def new_key(name: str, scopes: str | None, expires: timedelta | None, rotate_every: timedelta | None) -> dict[str, Any]:
    """Return what is asked for; what was left out is left to the server."""
    request: dict[str, Any] = {"name": name}
    if scopes is not None:
        request["scopes"] = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    if expires is not None:
        request["expires_at"] = from_now(expires)
    if rotate_every is not None:
        request["rotate_every"] = written_duration(rotate_every)
    return request


@api_key.command("list")
@org
@click.option("--all", "include_deleted", is_flag=True, help="Deleted and failed keys, too, with their states.")
@click.option("--name", metavar="TEXT", help="Only keys whose name holds this text, in these very letters.")
@click.option("--search", metavar="TEXT", help="Only keys whose name, id or last four characters hold this text.")
@click.option("--state", type=click.Choice(_STATES), help="Only keys in this state.")
@click.option("--scope", type=click.Choice(["read", "write", "admin"]), help="Only keys with this scope.")
@click.option("--env", type=EnvironmentType(), help="Only keys of this environment.")
@click.option("--destination", metavar="NAME", help="Only keys that are there, by its name or its URI.")
@click.option("--created-by", metavar="USER", help="Only keys that this user created, by id or e-mail address.")
@click.option("--unused", is_flag=True, help="Only keys that were never used.")
@click.option("--idle", type=DurationType(), help="Only older keys that were not used for so long, as 90d.")
@click.option("--used-within", type=DurationType(), help="Only keys that were used within this time, as 1d.")
@click.option("--expires-within", type=DurationType(), help="Only keys that end within this time from now, as 30d.")
@click.option("--no-expiry", is_flag=True, help="Only keys without an end.")
@click.option("--drifted", is_flag=True, help="Only keys of which a destination holds something else, or nothing.")
@click.option("--stalled", is_flag=True, help="Only keys past the deadline of their rotation.")
@click.option("--owner-left", is_flag=True, help="Only keys whose owner is disabled or no member any more.")
@click.option("--sort", type=click.Choice(_SORTS), help="By what; live keys then come before test keys.")
@connecting
@as_json
@pass_session
def list_keys(session: Session, /, org: str | None, env: Environment | None, as_json: bool, **asked: Any) -> None:
    """List the keys of an organization, newest first, live and test."""
    query = {field: _written(value) for field, value in asked.items() if value not in (None, False)}
    keys = session.api_keys(org)
    rows, is_mixed = keys.list_all(keys.environments if env is None else [env], query)
    with_state = "include_deleted" in query or "state" in query
    columns = [*_COLUMNS, *([_ENV] if is_mixed else []), *([_STATE] if with_state else [])]
    columns += () if query.keys() <= {*_OF_ROWS} else _HYGIENE
    print_rows(columns, map(without_secrets, rows), json_wanted=as_json)


def _written(value: object) -> str:
    return "true" if value is True else written_duration(value) if isinstance(value, timedelta) else str(value)


@api_key.command("show")
@key_id
@org
@connecting
@always_json
@pass_session
def show(session: Session, key_id: str, org: str | None) -> None:
    """Show all that may be known of a key."""
    print_json(without_secrets(session.api_keys(org).show(key_id)))


@api_key.command("usage")
@key_id
@org
@connecting
@as_json
@pass_session
def usage(session: Session, key_id: str, org: str | None, as_json: bool) -> None:
    """Show how often a key is used, when, from where, and what is refused to it or unusual."""
    from mushu.usage_chart import usage_lines

    answer = without_secrets(session.api_keys(org).usage(key_id))
    if as_json:
        print_json(answer)
    else:
        try:
            lines = [*usage_lines(answer)]
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            raise misunderstood("it tells of usage in another way") from None
        for line in lines:
            say(line)


@api_key.command("rename")
@key_id
@click.argument("name")
@org
@connecting
@always_json
@pass_session
def rename(session: Session, key_id: str, name: str, org: str | None) -> None:
    """Give a key another name."""
    print_json(without_secrets(session.api_keys(org).rename(key_id, name)))


@api_key.command("disable")
@key_id
@org
@connecting
@always_json
@pass_session
def disable(session: Session, key_id: str, org: str | None) -> None:
    """Refuse a key from now on, until it is enabled again."""
    print_json(without_secrets(session.api_keys(org).change(key_id, "disable")))


@api_key.command("enable")
@key_id
@org
@connecting
@always_json
@pass_session
def enable(session: Session, key_id: str, org: str | None) -> None:
    """Let a disabled key work again."""
    print_json(without_secrets(session.api_keys(org).change(key_id, "enable")))


@api_key.command("delete")
@key_id
@org
@yes
@click.option("--keep-in-destination", "keep_value", is_flag=True, help="Leave the dead value where it is.")
@connecting
@always_json
@pass_session
def delete(session: Session, key_id: str, org: str | None, yes: bool, keep_value: bool) -> None:
    """Delete a key for good, and take its value away from where this account put it.

    The very next request with it is refused.
    """
    from mushu.cli.delivery_record import find

    keys = session.api_keys(org)
    ask(f"Delete {key_id} for good? Requests with it fail at once.", agreed=yes)
    recorded = find(keys.server, key_id)
    try:
        keys.delete(key_id)
    except Failure:
        if recorded is None or not recorded.is_over:  # or else this finishes an earlier deletion
            raise
    print_done({"key_id": key_id, "deleted": True})
    if not keep_value:
        _take_away(keys, key_id, recorded)


def _places_of_clients(keys: ApiKeys, key_id: str) -> list[str]:
    """Return where clients put a key, as the server tells: to be shown, and not to be touched."""
    with suppress(Failure):
        there = (line for line in keys.deliveries(key_id) if line.get("state") == "verified")
        return [str(line.get("uri")) for line in there if line.get("by") == "client"]
    return []


def _take_away(keys: ApiKeys, key_id: str, recorded: "RecordedDelivery | None") -> None:
    """Take the value of a deleted key away from where this account put it, and say where it may be left."""
    from mushu.cli.delivery_record import forget, take_away

    told, left = take_away(key_id, recorded) if recorded is not None else ([], [])
    if recorded is not None:
        forget(keys.server, key_id, left)
    known = [] if recorded is None else list(recorded.places)
    told += [
        f"{place} holds it, put there by another account or machine: remove it there."
        for place in _places_of_clients(keys, key_id)
        if place not in known
    ]
    for sentence in told:
        note(sentence)
    if left:
        note(f"{key_id} is deleted. Run the same command again, once what is in the way is gone.")
        raise click.exceptions.Exit(1)


for command in (rotate, deliveries, extend, update):
    api_key.add_command(command)
