"""The upgrade itself: refuse what cannot go well, copy, migrate, tell.

The lock of the writer is taken before the copy is made, and kept until the migration is committed: no write falls
between the two, and none of another process is lost by going back.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, inspect

from mushu import keyformat
from mushu.server.config import JOURNAL_FILE, SEALING_KEYS_FILE, SECRET_KEY_FILE, SETTINGS_FILE, Settings
from mushu.server.core import Core, db
from mushu.server.errors import MushuError, UpgradeFailed
from mushu.server.instance import alone
from mushu.server.migrating import (
    apply_migrations,
    migration_transaction,
    missing_in,
    pending_migrations,
    revisions_of,
)
from mushu.server.upgrading import going_back, postgresql, sqlite
from mushu.server.upgrading.copies import (
    Copy,
    new_copy,
    remove_between,
    remove_old,
    remove_partial,
    write_manifest,
    write_private,
)
from mushu.server.upgrading.in_use import process_using

_LOG: Final = logging.getLogger(__name__)
LOCK_FILE: Final = "upgrade.lock"
#: Bytes beyond what the copy and the migration take.
_RESERVE: Final = 16 * 1024 * 1024

#: Makes a copy of what the connection sees, or none; is told which migrations are missing.
MakeCopy = Callable[[Core, Connection, list[str]], Copy | None]


def upgrade_with_copy(core: Core) -> list[str]:
    """Migrate the database to this code, after a copy of it was made; return what the operator should read.

    Raises:
        MushuError: it cannot be done, and nothing was changed.
    """
    return _upgrade(core, _copy)


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
        return _told(_copy(core, connection, missing_in(connection)))


def _upgrade(core: Core, make_copy: MakeCopy) -> list[str]:
    with alone(core.settings.instance_path / LOCK_FILE):
        lines = [f"removed    {path}: a copy that was cut off" for path in remove_partial(core.settings.instance_path)]
        if not pending_migrations():
            return lines
        _refuse_while_in_use()
        copy = None
        with _or_as_it_was(), migration_transaction(db.engine) as connection:
            if connection.dialect.name == "postgresql":
                postgresql.hold_writers(connection)
            missing = missing_in(connection)  # another machine may have been first
            if not missing:
                return lines
            revision = ", ".join(revisions_of(connection))
            if _holds_anything(connection):
                copy = make_copy(core, connection, missing)
            apply_migrations(connection)
            lines += _told_of_others(connection)
        if revision:
            lines += [*_told(copy), f"migrated   the database from {revision} to {missing[-1]}"]
        gone = remove_old(core.settings.instance_path) if copy is not None else []
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
def _or_as_it_was() -> Iterator[None]:
    """Say of whatever goes wrong that nothing was changed, and how the version of before starts again."""
    try:
        yield
    except MushuError:
        raise
    except Exception as error:
        _LOG.exception("the migration failed", exc_info=error)
        cause = keyformat.mask(str(getattr(error, "orig", None) or error).strip().partition("\n")[0])
        missing = pending_migrations()
        raise UpgradeFailed(
            f"The database could not be migrated to {missing[-1] if missing else 'this version'} "
            f"({type(error).__name__}: {cause}). It is as it was before: all migrations were undone together. The "
            f"version of Mushu that ran before works with it: {going_back.old_version(missing[0] if missing else None)}"
        ) from None


def _copy(core: Core, connection: Connection, missing: list[str]) -> Copy:
    settings, revision = core.settings, ", ".join(revisions_of(connection)) or "none"
    target, first = (missing[-1], missing[0]) if missing else ("downgrade", None)
    try:
        _refuse_without_room(settings, connection)
        with new_copy(settings.instance_path, revision, target, core.clock) as copy:
            _copy_what_encrypts(settings, copy)
            if connection.dialect.name == "postgresql":
                rows = postgresql.copy_database(connection, copy.folder)
                name, options = connection.engine.url.database or "", postgresql.options_of(connection)
                script = going_back.postgresql_script(copy, settings, name, options, postgresql.DUMP, first)
            else:
                rows = sqlite.copy_database(connection, copy.folder)
                script = going_back.sqlite_script(copy, settings, sqlite.path_of(connection), first)
            write_private(copy.folder / going_back.SCRIPT, script.encode())
            write_manifest(copy, rows)
        remove_between(settings.instance_path, revision)
    except (OSError, sqlite.SQLiteError) as error:
        raise UpgradeFailed(
            f"No copy of the database could be made in {settings.instance_path} ({error}). Nothing was migrated. Mend "
            "that, or do without a copy: --no-copy."
        ) from None
    return copy


def _copy_what_encrypts(settings: Settings, copy: Copy) -> None:
    """Copy the files without which the database is worth less, under the names that they have in an instance folder."""
    instance = settings.instance_path
    for name, path in (
        (SEALING_KEYS_FILE, settings.sealing_keys_path),
        *((name, instance / name) for name in (SECRET_KEY_FILE, SETTINGS_FILE, JOURNAL_FILE)),
    ):
        if path.exists():
            write_private(copy.folder / name, path.read_bytes())


def _refuse_without_room(settings: Settings, connection: Connection) -> None:
    """SQLite needs as much again while it migrates, in a log beside the database, whose folder may be another disk."""
    if connection.dialect.name == "postgresql":
        needs = {settings.instance_path: postgresql.size_of(connection)}
    else:
        size, folder = sqlite.size_of(connection), sqlite.path_of(connection).parent
        same = folder.stat().st_dev == settings.instance_path.stat().st_dev
        needs = {settings.instance_path: 2 * size} if same else {settings.instance_path: size, folder: size}
    for folder, bytes_needed in needs.items():
        free = shutil.disk_usage(folder).free
        if free < bytes_needed + _RESERVE:
            raise UpgradeFailed(
                f"The disk of {folder} has {_megabytes(free)} MB free, and a copy of the database and its migration "
                f"take {_megabytes(bytes_needed + _RESERVE)} MB. Nothing was migrated. Make room, or do without a "
                "copy: --no-copy."
            )


def _megabytes(count: int) -> int:
    return -(-count // (1024 * 1024))


def _told(copy: Copy | None) -> list[str]:
    if copy is None:
        return ["copy       none was made"]
    return [
        f"copy       {copy.final} holds the database as it was at {copy.revision}, and what encrypts it",
        f"go back    stop the server, then run: sh {going_back.quoted(copy.final / going_back.SCRIPT)}",
    ]


def _told_of_others(connection: Connection) -> list[str]:
    others = postgresql.other_connections(connection) if connection.dialect.name == "postgresql" else 0
    advice = "restart every server that uses it, or it writes rows of the version before"
    return [f"note       {others} other connections to the database are open: {advice}"] if others else []
