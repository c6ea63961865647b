"""Brings the schema up to date, in one transaction. Needs the core's app context.

`upgrade.py` makes a copy first: it is what commands and `script/up` call. Alembic takes long to load, so it is loaded
where something is missing: whether anything is, its table and the files of the migrations say without it.
"""

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, inspect, text

from mushu.server.core import MIGRATIONS, db
from mushu.server.db import READ_ONLY
from mushu.server.errors import ConfigurationError

#: The revision of a database that is being copied to (`database_copy.py`): no server starts on it.
UNFINISHED_COPY: Final = "copying"
#: What a database is at, by the table that Alembic keeps.
REVISIONS: Final = text("SELECT version_num FROM alembic_version")
#: How a migration says where it stands, as `migrations/script.py.mako` writes it.
_PLACE: Final = re.compile(r"^(revision|down_revision)(?:: [^=]+)? = (.+)$", re.MULTILINE)


def pending_migrations() -> list[str]:
    """Return the ids of the migrations that the database lacks, oldest first.

    Raises:
        ConfigurationError: the database knows migrations that this code does not.
    """
    with db.engine.connect().execution_options(**{READ_ONLY: True}) as connection:
        return missing_in(connection)


def missing_in(connection: Connection) -> list[str]:
    """Return what `pending_migrations` does, as seen by the transaction of `connection`."""
    current = revisions_of(connection)
    if UNFINISHED_COPY in current:
        raise ConfigurationError(
            "This database is a copy that is not finished. Run the same `flask db copy` again; it goes on where it was."
        )
    if frozenset(current) == newest_revisions():
        return []
    from alembic.script import ScriptDirectory
    from alembic.script.revision import RevisionError

    scripts = ScriptDirectory(str(MIGRATIONS))
    try:
        missing = list(scripts.iterate_revisions("heads", current or "base"))
    except RevisionError:
        known = ", ".join(scripts.get_heads())
        raise ConfigurationError(
            f"This database was made by a newer Mushu: it is at revision {', '.join(current)}, and this code knows "
            f"revisions up to {known}. Update the code, or go back to a copy from before: docs/upgrading.md."
        ) from None
    return [script.revision for script in reversed(missing) if script.revision not in current]


def revisions_of(connection: Connection) -> tuple[str, ...]:
    """Return the revision that the database is at; none where it is empty."""
    return tuple(connection.scalars(REVISIONS)) if inspect(connection).has_table("alembic_version") else ()


def newest_revisions() -> frozenset[str]:
    """Return the revisions that the files of the migrations have, and that no migration comes after."""
    made, followed = set[str](), set[str]()
    for path in (MIGRATIONS / "versions").glob("*.py"):
        named = {name: ast.literal_eval(value) for name, value in _PLACE.findall(path.read_text(encoding="utf-8"))}
        before = named["down_revision"]
        made.add(named["revision"])
        followed.update((before,) if isinstance(before, str) else before or ())
    return frozenset(made - followed)


def migrate() -> bool:
    """Apply what the database lacks, without a copy; tell whether it lacked anything."""
    if not pending_migrations():
        return False
    with migration_transaction(db.engine) as connection:
        apply_migrations(connection)
    return True


def apply_migrations(connection: Connection) -> None:
    """Apply every migration that is missing, in the transaction of `connection`."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))  # a % would be an interpolation
    config.attributes["connection"] = connection
    command.upgrade(config, "heads")


@contextmanager
def migration_transaction(engine: Engine) -> Iterator[Connection]:
    """Own the one transaction of all migrations: what fails in it, or is found broken at its end, leaves nothing.

    Raises:
        RuntimeError: there are references now that lead nowhere.
    """
    with engine.connect() as connection:
        if engine.dialect.name != "sqlite":
            with connection.begin():
                yield connection
            return
        # A changed table is copied and dropped: its references must not cascade meanwhile. Inside of a transaction
        # the pragma does nothing.
        driver: Any = connection.connection.dbapi_connection
        driver.execute("PRAGMA foreign_keys=OFF")
        try:
            with connection.begin():
                before = _broken_references(driver)
                yield connection
                broken = _broken_references(driver) - before
                if broken > 0:  # raised before the commit, or what is broken would stay
                    raise RuntimeError(f"the migration left {broken} references that lead nowhere")
        finally:
            driver.execute("PRAGMA foreign_keys=ON")


def _broken_references(driver: Any) -> int:
    return len(driver.execute("PRAGMA foreign_key_check").fetchall())
