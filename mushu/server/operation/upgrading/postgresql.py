"""Copying a PostgreSQL database with pg_dump, and making sure that the copy has every row.

Writers wait from before the copy until the migration is committed; readers do not.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Final

from sqlalchemy import Connection, inspect, text

from mushu.process import child_environment
from mushu.server.errors import UpgradeFailed
from mushu.server.operation.upgrading.copies import write_private

DUMP: Final = "database.dump"
_VERSION: Final = re.compile(r"(\d+)")
#: Names the advisory lock under which one server at a time upgrades, on whatever machine.
_LOCK: Final = 0x6D757368755F7570
#: How long a lock on a table is waited for, while a transaction that writes ends.
_PATIENCE: Final = "15s"
_COPY: Final = re.compile(rb'COPY (?:\S+\.)?"?(\w+)"? \(')
_NO_COPY: Final = "Nothing was migrated. Mend that, or do without a copy: --no-copy."


def hold_writers(connection: Connection) -> None:
    """Let one upgrade run at a time, and no other connection write to a table until the transaction ends."""
    connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    for setting, value in (
        ("lock_timeout", _PATIENCE),
        ("statement_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),  # it is idle while pg_dump works
    ):
        connection.execute(text(f"SET LOCAL {setting} = '{value}'"))
    tables = ", ".join(_quoted(connection, name) for name in _tables(connection))
    if tables:
        connection.execute(text(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE"))


def size_of(connection: Connection) -> int:
    """Return how many bytes the tables have, without their indexes, which a dump leaves out."""
    tables = "relkind = 'r' AND relnamespace = current_schema::regnamespace"
    return int(connection.scalar(text(f"SELECT sum(pg_table_size(oid)) FROM pg_class WHERE {tables}")) or 0)  # noqa: S608


def other_connections(connection: Connection) -> int:
    """Return how many other connections of this role there are to the database: of servers of before, perhaps."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user "
        "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    return int(connection.scalar(text(query)) or 0)


def copy_database(connection: Connection, folder: Path) -> Mapping[str, int]:
    """Dump the database, and return how many rows each table has. The caller holds the writers.

    Raises:
        UpgradeFailed: there is no pg_dump that can, or the dump has not all rows.
    """
    rows = {name: _count(connection, name) for name in _tables(connection)}
    dump = folder / DUMP
    write_private(dump, b"")
    command = [_program(connection), "--format=custom", "--no-password", f"--file={dump}"]
    done = subprocess.run(  # noqa: S603 - no shell, and nothing of a stranger's
        [*command, f"--dbname={_address(connection)}"],
        env=_environment(connection),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UpgradeFailed(f"pg_dump made no copy ({done.stderr.strip() or done.returncode}). {_NO_COPY}")
    there = _rows_of(dump)
    lacking = [name for name, count in rows.items() if there.get(name) != count]
    if lacking:
        raise UpgradeFailed(f"The copy of pg_dump has not all rows of {', '.join(lacking)}. {_NO_COPY}")
    return rows


def options_of(connection: Connection) -> str:
    """Return the options with which PostgreSQL's programs find the server, for a shell; without the password."""
    known = _parameters(connection)
    named = (("host", "host"), ("port", "port"), ("username", "user"))
    return " ".join(f"--{option}={quote(known[name])}" for option, name in named if known.get(name))


def _program(connection: Connection) -> str:
    """Return pg_dump, if it is there and can dump this server."""
    server = int((connection.dialect.server_version_info or (0,))[0])
    found = shutil.which("pg_dump")
    if found is None or shutil.which("pg_restore") is None:
        raise UpgradeFailed(
            f"There is no pg_dump here. Install PostgreSQL's client {server} (postgresql-client). {_NO_COPY}"
        )
    told = subprocess.run(  # noqa: S603 - as above
        [found, "--version"], env=_environment(connection), capture_output=True, text=True, check=False
    )
    version = _VERSION.search(told.stdout)
    if version is None or int(version[1]) < server:
        raise UpgradeFailed(
            f"{found} is of version {version[1] if version else 'unknown'} and the server of {server}: an older "
            f"pg_dump does not dump a newer server. Install PostgreSQL's client {server}. {_NO_COPY}"
        )
    return found


def _rows_of(dump: Path) -> dict[str, int]:
    """Read the dump as restoring it would, and count its rows by table."""
    found: dict[str, int] = {}
    table = None
    with subprocess.Popen(  # noqa: S603 - as above
        [shutil.which("pg_restore") or "pg_restore", "--data-only", "--file=-", str(dump)],
        stdout=subprocess.PIPE,
        env=child_environment(),
    ) as restoring:
        for line in restoring.stdout or ():
            begins = _COPY.match(line) if table is None else None
            if begins is not None:
                table = begins[1].decode()
                found[table] = 0
            elif line == b"\\.\n":
                table = None
            elif table is not None:
                found[table] += 1
    return found if restoring.returncode == 0 else {}


def _address(connection: Connection) -> str:
    """Return where the database is, as libpq takes it, without what is secret: others can read arguments."""
    from psycopg.conninfo import make_conninfo  # an extra, there where the database is PostgreSQL

    return make_conninfo("", **_parameters(connection))


def _parameters(connection: Connection) -> dict[str, str]:
    """Return what the URL says of how to connect, without passwords; the rest is in variables and files of libpq's.

    What the driver could tell of the connection names options that an older libpq of pg_dump's does not know.
    """
    url = connection.engine.url
    known = {**url.translate_connect_args(database="dbname", username="user"), **url.query}
    return {
        name: value if isinstance(value, str) else ",".join(value) if isinstance(value, tuple) else str(value)
        for name, value in known.items()
        if "password" not in name
    }


def _environment(connection: Connection) -> dict[str, str]:
    """Return what pg_dump needs to get in as this process does: nothing else of this process's environment."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR")
    found = {name: value for name, value in os.environ.items() if name in kept or name.startswith(("PG", "LC_"))}
    url = connection.engine.url
    password = url.password or url.query.get("password")
    return found | {"PGPASSWORD": str(password)} if password else found


def _tables(connection: Connection) -> list[str]:
    return sorted(inspect(connection).get_table_names())


def _count(connection: Connection, table: str) -> int:
    return int(connection.scalar(text(f"SELECT count(*) FROM {_quoted(connection, table)}")) or 0)  # noqa: S608


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(name)
