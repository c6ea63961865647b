"""Copying a SQLite database that may be written to, by SQLite's own backup, and making sure that the copy is whole."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection

from mushu.server.errors import UpgradeFailed
from mushu.server.operation.upgrading.copies import write_private

DATABASE: Final = "mushu.sqlite3"
SQLiteError: TypeAlias = sqlite3.Error


def path_of(connection: Connection) -> Path:
    """Return where the database is, links resolved."""
    return Path(connection.engine.url.database or "").resolve()


def size_of(connection: Connection) -> int:
    """Return how many bytes the database has, with what is only in its log yet."""
    driver = _driver(connection)
    pages, page_size = (int(driver.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "page_size"))
    return pages * page_size


def copy_database(connection: Connection, folder: Path) -> Mapping[str, int]:
    """Copy the database as the transaction of `connection` found it, and return how many rows each table has.

    The caller's transaction holds the lock of the writer and has written nothing, so that the copy is what it sees.

    Raises:
        UpgradeFailed: the copy is not what the database is.
    """
    target = folder / DATABASE
    write_private(target, b"")  # SQLite would make it with the umask's mode
    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        with closing(sqlite3.connect(f"{path_of(connection).as_uri()}?mode=ro", uri=True)) as source:
            source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        sound = [str(row[0]) for row in copy.execute("PRAGMA integrity_check(1)")]
        rows, there = _rows(_driver(connection)), _rows(copy)
    if sound != ["ok"]:
        raise UpgradeFailed(f"The database is damaged ({sound[0]}), so a copy of it is, too. Restore a backup first.")
    if rows != there:
        raise UpgradeFailed("The copy has not all rows of the database.")
    return rows


def _rows(driver: Any) -> dict[str, int]:
    names = (
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    )
    tables = [str(row[0]) for row in driver.execute(names).fetchall()]
    counted = (f'SELECT count(*) FROM "{name}"' for name in tables)  # noqa: S608 - the schema's own names
    return {name: int(driver.execute(query).fetchone()[0]) for name, query in zip(tables, counted, strict=True)}


def _driver(connection: Connection) -> Any:
    return connection.connection.dbapi_connection
