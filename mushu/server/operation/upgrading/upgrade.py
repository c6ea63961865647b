"""The upgrade itself: refuse what cannot go well, copy, migrate, tell.

The lock of the writer is taken before the copy is made, and kept until the migration is committed: no write falls
between the two, and none of another process is lost by going back.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SQLAlchemyError

from mushu import keyformat
from mushu.server.core import Core, db
from mushu.server.errors import MushuError, UpgradeFailed
from mushu.server.instance import alone
from mushu.server.operation.upgrading import copying, postgresql, sqlite
from mushu.server.operation.upgrading.copies import Copy, remove_old, remove_partial
from mushu.server.operation.upgrading.copying import make_copy, remove_keys_of
from mushu.server.operation.upgrading.in_use import process_using
from mushu.server.operation.upgrading.migrations import (
    apply_migrations,
    migration_transaction,
    missing_in,
    pending_migrations,
    revisions_of,
)

_LOG: Final = logging.getLogger(__name__)
LOCK_FILE: Final = "upgrade.lock"

#: Makes a copy of what the connection sees, or none; is told which migrations are missing.
MakeCopy = Callable[[Core, Connection, list[str]], Copy | None]


def upgrade_with_copy(core: Core) -> list[str]:
    """Migrate the database to this code, after a copy of it was made; return what the operator should read.

    Raises:
        MushuError: it cannot be done, and nothing was changed.
    """
    return _upgrade(core, make_copy)


def upgrade_without_copy(core: Core) -> list[str]:
    """Migrate the database to this code, without a copy; return what the operator should read.

    Raises:
        MushuError: it cannot be done, and nothing was changed.
    """
    return _upgrade(core, lambda _core, _connection, _missing: None)


def copy_before(core: Core, connection: Connection) -> list[str]:
    """Make a copy for a command that is not ours and changes the schema in the transaction of `connection`."""
    if connection.dialect.name == "postgresql":
        postgresql.hold_writers(connection)
    if not _holds_anything(connection):
        return []
    with alone(core.settings.instance_path / LOCK_FILE):
        return _told(make_copy(core, connection, missing_in(connection)))


def _upgrade(core: Core, make: MakeCopy) -> list[str]:
    with alone(core.settings.instance_path / LOCK_FILE):
        left = remove_partial(core.settings.instance_path)
        remove_keys_of(core.settings, left)
        lines = [f"removed    {path}: a copy that was cut off" for path in left]
        missing = pending_migrations()
        if not missing:
            return lines
        _refuse_while_in_use()
        copy = None
        with _or_as_it_was(missing), migration_transaction(db.engine) as connection:
            if connection.dialect.name == "postgresql":
                postgresql.hold_writers(connection)
            missing = missing_in(connection)  # another machine may have been first
            if not missing:
                return lines
            revision = ", ".join(revisions_of(connection))
            if _holds_anything(connection):
                copy = make(core, connection, missing)
            apply_migrations(connection)
            lines += _told_of_others(connection)
        if revision:
            lines += [*_told(copy), f"migrated   the database from {revision} to {missing[-1]}"]
        gone = remove_old(core.settings.instance_path) if copy is not None else []
        remove_keys_of(core.settings, gone)
        return [*lines, *(f"removed    {path}: a copy of an older revision" for path in gone)]


def _holds_anything(connection: Connection) -> bool:
    return bool(inspect(connection).get_table_names())


def _refuse_while_in_use() -> None:
    """A server of before that went on would write rows of before into the new schema."""
    db.session.remove()
    db.engine.dispose()
    if db.engine.dialect.name != "sqlite":
        return
    with db.engine.connect() as connection:
        path = sqlite.path_of(connection)
    db.engine.dispose()
    process = process_using(path)
    if process is not None:
        raise UpgradeFailed(
            f"Process {process} has {path} open. Nothing was migrated. Stop the server, and whatever else works with "
            "the database, then do this again."
        )


@contextmanager
def _or_as_it_was(missing: list[str]) -> Iterator[None]:
    """Say of whatever goes wrong that nothing was changed, and how the version of before starts again."""
    try:
        yield
    except MushuError:
        raise
    except Exception as error:
        _LOG.exception("the migration failed", exc_info=error)
        cause = keyformat.mask(str(getattr(error, "orig", None) or error).strip().partition("\n")[0])
        raise UpgradeFailed(
            f"The database could not be migrated to {missing[-1]} ({type(error).__name__}: {cause}). "
            f"{_what_is_left(missing)}"
        ) from None


def _what_is_left(missing: list[str]) -> str:
    """Look before saying it: a connection may have been lost in the moment of the commit."""
    way = f"The version of Mushu that ran before works with it: {copying.old_version(missing[0])}"
    try:
        now = pending_migrations()
    except (SQLAlchemyError, OSError):
        return f"It does not answer. All migrations are one transaction: it is as it was before, or migrated. {way}"
    if now != missing:
        return "It is migrated all the same. Start again."
    return f"It is as it was before: all migrations were undone together. {way}"


def _told(copy: Copy | None) -> list[str]:
    if copy is None:
        return ["copy       none was made"]
    return [
        f"copy       {copy.final} holds the database as it was at {copy.revision}, and what encrypts it",
        f"go back    stop the server, then run: sh {copying.quoted(copy.final / copying.SCRIPT)}",
    ]


def _told_of_others(connection: Connection) -> list[str]:
    others = postgresql.other_connections(connection) if connection.dialect.name == "postgresql" else 0
    advice = "restart every server that uses it, or it writes rows of the version before"
    return [f"note       {others} other connections to the database are open: {advice}"] if others else []
