"""`mushu api-key list`: which keys an organization has, by what is known of them."""

from datetime import timedelta
from typing import Any, Final

import click

from mushu.cli.answers import without_secrets
from mushu.cli.options import DurationType, EnvironmentType, as_json, connecting, org, pass_session
from mushu.cli.output import Column, print_rows
from mushu.cli.session import Session
from mushu.duration import written_duration
from mushu.environment import Environment

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


@click.command("list")
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
