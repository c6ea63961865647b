"""The script in each copy that goes back to it, and how the version of before starts again.

What is there now is set aside, not deleted. The journal of revoked keys stays: the version of before follows it as it
starts, so that keys which were deleted since stay deleted.
"""

from pathlib import Path
from shlex import quote
from typing import Final

from mushu.server.config import Settings
from mushu.server.instance import JOURNAL_FILE, ROOT, SECRET_KEY_FILE, SETTINGS_FILE
from mushu.server.operation.upgrading.copies import Copy

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
