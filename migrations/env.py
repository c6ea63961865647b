"""Runs migrations on the engine of the current app: `flask db upgrade`, `script/up`, and the tests."""

from typing import Any, Literal

from alembic import context
from flask import current_app
from sqlalchemy import Connection, Engine

from mushu.server import schema
from mushu.server.db import UTCDateTime


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
    with context.begin_transaction():
        context.run_migrations()


def migrate(engine: Engine) -> None:
    with engine.connect() as connection:
        if engine.dialect.name != "sqlite":
            run(connection)
            return
        # A changed table is copied and dropped: its references must not cascade meanwhile, and hold afterwards.
        driver: Any = connection.connection.dbapi_connection
        driver.execute("PRAGMA foreign_keys=OFF")
        try:
            run(connection)
            broken = driver.execute("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise RuntimeError(f"the migration left {len(broken)} references that lead nowhere")
        finally:
            driver.execute("PRAGMA foreign_keys=ON")


migrate(current_app.extensions["migrate"].db.engine)
