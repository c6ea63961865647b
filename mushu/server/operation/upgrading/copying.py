"""Making a copy: room for it, the files that encrypt, the database, and the script that goes back."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from mushu.server.config import Settings
from mushu.server.core import Core
from mushu.server.errors import UpgradeFailed
from mushu.server.instance import JOURNAL_FILE, SECRET_KEY_FILE, SETTINGS_FILE
from mushu.server.operation.upgrading import going_back, postgresql, sqlite
from mushu.server.operation.upgrading.copies import (
    PARTIAL,
    Copy,
    flush,
    new_copy,
    remove_between,
    write_manifest,
    write_private,
)
from mushu.server.operation.upgrading.migrations import revisions_of

#: Bytes beyond what the copy and the migration take.
_RESERVE: Final = 16 * 1024 * 1024


def make_copy(core: Core, connection: Connection, missing: list[str]) -> Copy:
    """Return a copy of what the transaction of `connection` sees, which holds the lock of the writer.

    Raises:
        UpgradeFailed: none could be made, and nothing of it is left.
    """
    settings, revision = core.settings, ", ".join(revisions_of(connection)) or "none"
    target, first = (missing[-1], missing[0]) if missing else ("downgrade", None)
    try:
        _refuse_without_room(settings, connection)
        with new_copy(settings.instance_path, revision, target, core.clock) as copy, _without_keys(settings, copy):
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
        remove_keys_of(settings, remove_between(settings.instance_path, revision))
    except (OSError, sqlite.SQLiteError) as error:
        raise UpgradeFailed(
            f"No copy of the database could be made in {settings.instance_path} ({error}). Nothing was migrated. Mend "
            "that, or do without a copy: --no-copy."
        ) from None
    return copy


@contextmanager
def _without_keys(settings: Settings, copy: Copy) -> Iterator[None]:
    """Leave no keys of a copy that was not finished."""
    try:
        yield
    except BaseException:
        remove_keys_of(settings, [copy.final])
        raise


def _copy_what_encrypts(settings: Settings, copy: Copy) -> None:
    """Copy the files without which the database is worth less; the sealing keys beside themselves."""
    if settings.sealing_keys_path.exists():
        keys = going_back.keys_beside(settings, copy.final)
        write_private(keys, settings.sealing_keys_path.read_bytes())
        flush(keys)
        flush(keys.parent)
    for name in (SECRET_KEY_FILE, SETTINGS_FILE, JOURNAL_FILE):
        path = settings.instance_path / name
        if path.exists():
            write_private(copy.folder / name, path.read_bytes())


def remove_keys_of(settings: Settings, copies: list[Path]) -> None:
    """Remove the sealing keys of copies that were removed."""
    for copy in copies:
        going_back.keys_beside(settings, copy.with_name(copy.name.removesuffix(PARTIAL))).unlink(missing_ok=True)


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
