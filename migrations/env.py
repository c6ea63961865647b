"""Runs migrations on the engine of the current app, or in the transaction that `upgrading/migrations.py` gives."""

from typing import Literal

import click
from alembic import context
from sqlalchemy import Connection, Engine

from mushu.server import schema
from mushu.server.core import db, get_core
from mushu.server.db import UTCDateTime
from mushu.server.errors import ConfigurationError
from mushu.server.operation.upgrading.migrations import migration_transaction, missing_in
from mushu.server.operation.upgrading.upgrade import copy_before


def render_item(kind: str, item: object, _: object) -> str | Literal[False]:
    """Write plain types into migrations: they must go on working when the code has moved on."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UTCDateTime) else False


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=schema.metadata,
        render_as_batch=True,
        compare_type=True,
        render_item=render_item,
        # SQLite can roll back a change of the schema, and with it the half of a migration that was killed.
        transactional_ddl=True,
    )
    with context.begin_transaction():  # part of the transaction that the connection is in
        context.run_migrations()


def migrate(engine: Engine) -> None:
    if context.is_offline_mode():
        raise ConfigurationError("Migrations look at what is stored, so they are no SQL to be run later. Omit --sql.")
    with migration_transaction(engine) as connection:
        missing_in(connection)  # refuses a copy that is not finished, and a newer database, also to `stamp`
        if changes_the_schema_by_hand():
            click.echo("\n".join(copy_before(get_core(), connection)))
        run(connection)


def changes_the_schema_by_hand() -> bool:
    """Tell whether this is Flask-Migrate's own `flask db upgrade` or `downgrade`: they have no copy made."""
    command = click.get_current_context(silent=True)
    names = (command.parent.info_name, command.info_name) if command is not None and command.parent is not None else ()
    return names in (("db", "upgrade"), ("db", "downgrade"))


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    migrate(db.engine)
