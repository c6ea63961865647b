"""Makes a copy: room for it, the files that encrypt, the database, and the script that goes back to it.

The script sets aside what is there now, and deletes nothing. The journal of revoked keys stays: the version of before
follows it as it starts, so that keys which were deleted since stay deleted.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Final

from sqlalchemy import Connection

from mushu.server.config import Settings
from mushu.server.core import Core
from mushu.server.errors import UpgradeFailed
from mushu.server.instance import JOURNAL_FILE, ROOT, SECRET_KEY_FILE, SETTINGS_FILE
from mushu.server.operation.upgrading import postgresql, sqlite
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
                script = postgresql_script(copy, settings, name, options, postgresql.DUMP, first)
            else:
                rows = sqlite.copy_database(connection, copy.folder)
                script = sqlite_script(copy, settings, sqlite.path_of(connection), first)
            write_private(copy.folder / SCRIPT, script.encode())
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
        keys = keys_beside(settings, copy.final)
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
        keys_beside(settings, copy.with_name(copy.name.removesuffix(PARTIAL))).unlink(missing_ok=True)


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


SCRIPT: Final = "go-back.sh"
#: Put back only where they are missing: a migration changes none of them.
_ONLY_IF_MISSING: Final = f"{SECRET_KEY_FILE} {SETTINGS_FILE} {JOURNAL_FILE}"

_HEAD: Final = """\
#!/bin/sh
# Goes back to the database as it was at revision {revision}, before it was migrated to {target}.
#
# Stop the server first; start the version that ran before afterwards. What was written since is set aside. Cut off
# half way, run it again. {journal} stays as it is: it keeps deleted keys deleted.
set -eu
umask 077
copy=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
instance={instance}
keys={keys}
former_keys={former_keys}
now=$(date -u +%Y%m%dT%H%M%SZ)
aside=$instance/replaced-$now
mkdir -p "$aside"
"""
_SQLITE: Final = """
database={database}
if command -v fuser >/dev/null && fuser "$database" >/dev/null 2>&1; then
  echo "$database is in use. Stop the server first." >&2
  exit 1
fi
cp -p "$copy/mushu.sqlite3" "$database.new"
for file in "$database" "$database-wal"; do
  if [ -e "$file" ]; then ln "$file" "$aside/" 2>/dev/null || cp -p "$file" "$aside/"; fi
done
sync
rm -f "$database-wal" "$database-shm"
mv -f "$database.new" "$database"
"""
_POSTGRESQL: Final = """
# Into a new database: the present one is left as it is. The password is asked for, or taken from ~/.pgpass.
database={database}_before_{target}_$now
createdb {options} "$database"
pg_restore {options} --exit-on-error --single-transaction --no-owner --dbname="$database" "$copy/{dump}"
echo "In the setting database_url (MUSHU_DATABASE_URL), put this in the place of the database's name: $database"
"""
_TAIL: Final = """
if [ -e "$former_keys" ] && ! cmp -s "$former_keys" "$keys"; then
  if [ -e "$keys" ]; then cp -p "$keys" "$keys.replaced-$now"; fi
  cp -p "$former_keys" "$keys.new"
  mv -f "$keys.new" "$keys"
fi
for name in {only_if_missing}; do
  if [ -e "$copy/$name" ] && [ ! -e "$instance/$name" ]; then cp -p "$copy/$name" "$instance/$name"; fi
done
sync
rmdir "$aside" 2>/dev/null || echo "What was there until now is in $aside."
echo "Now make the code the version that ran before, and start the server:"
echo {old_version}
"""


def sqlite_script(copy: Copy, settings: Settings, database: Path, first_missing: str | None) -> str:
    """Return the script that puts a SQLite database back."""
    return _script(copy, settings, first_missing, _SQLITE.format(database=quote(str(database))))


def postgresql_script(
    copy: Copy, settings: Settings, database: str, options: str, dump: str, first_missing: str | None
) -> str:
    """Return the script that restores a PostgreSQL database beside the present one.

    Args:
        options: those that say where the server is, quoted for a shell; without a password.
    """
    body = _POSTGRESQL.format(database=quote(database), options=options, dump=dump, target=copy.target)
    return _script(copy, settings, first_missing, body)


def old_version(first_missing: str | None) -> str:
    """Return what makes the code that of the version before the migration `first_missing`; None where it fits."""
    if first_missing is None:
        return "the code of now works with it"
    if not (ROOT / ".git").exists():
        return "install the version of Mushu that ran before"
    git = f"git -C {quote(str(ROOT))}"
    added = f"{git} log -1 --diff-filter=A --format=%H -- {quote(f'migrations/versions/{first_missing}_*')}"
    return f'{git} checkout "$({added})^"'


def keys_beside(settings: Settings, copy: Path) -> Path:
    """Return where the sealing keys of a copy are: beside the keys, whose folder may be apart from the database."""
    keys = settings.sealing_keys_path.resolve()
    return keys.with_name(f"{keys.name}.{copy.name}")


def quoted(path: Path) -> str:
    """Return the path as a shell takes it."""
    return quote(str(path))


def _script(copy: Copy, settings: Settings, first_missing: str | None, body: str) -> str:
    head = _HEAD.format(
        revision=copy.revision,
        target=copy.target,
        journal=JOURNAL_FILE,
        instance=quote(str(settings.instance_path)),
        keys=quote(str(settings.sealing_keys_path.resolve())),
        former_keys=quote(str(keys_beside(settings, copy.final))),
    )
    tail = _TAIL.format(
        only_if_missing=_ONLY_IF_MISSING,
        old_version=quote(f"  {old_version(first_missing)}"),
    )
    return head + body + tail
