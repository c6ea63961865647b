"""The two ends of a copy: which database, its tables, and its rows in one order on every database.

Beside SQLite's database the tables of usage are in a file of their own; in PostgreSQL they are in the database.
"""

import hashlib
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

from sqlalchemy import Connection, Engine, Row, String, Table, collate, create_engine, make_url, select

from mushu.server import schema
from mushu.server.db import READ_ONLY, engine_options, prepare_engine
from mushu.server.errors import CopyFailed
from mushu.server.instance import make_private, sqlite_file
from mushu.server.operation.upgrading import postgresql
from mushu.server.operation.upgrading.in_use import PATIENCE, process_using
from mushu.server.setting_checks import database_url
from mushu.server.usage.engine import usage_engine
from mushu.server.usage.models import TABLES

#: All tables, each behind those that its rows refer to.
TABLES_IN_ORDER: Final[list[Table]] = schema.metadata.sorted_tables
#: Rows that are held in memory, and committed, at once.
BATCH: Final = 1_000
_PAUSE: Final = 0.2

AnyRow: TypeAlias = Row[Any]
#: Returns the connection that a table is read from; None: what is about the whole database.
ReadFrom: TypeAlias = Callable[[Table | None], Connection]


class CopiedDatabase:
    """A database that is copied from or to, and the option that named it."""

    def __init__(self, option: str, url: str, *, is_new: bool) -> None:
        fault = database_url(url) if url else "must name a database"
        if fault is not None:
            raise CopyFailed(f"{option} {fault}.")
        scheme, rest = url.split(":", 1)
        self.url = make_url(f"postgresql+psycopg:{rest}" if scheme == "postgresql" else url)
        self.option, self.shown, self.file = option, shown(url), sqlite_file(url)
        if self.file is not None:
            self._find(self.file, is_new)
        self.engine = create_engine(self.url, **engine_options(url, 1))
        prepare_engine(self.engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()

    def engine_of(self, table: Table) -> Engine:
        """Return what reads and writes a table."""
        return usage_engine(self.engine) if table in TABLES else self.engine

    def refuse_in_use(self) -> None:
        """Raise `CopyFailed` where somebody has the database open; to be asked before this process opens it."""
        if self.file is not None:
            process = process_using(self.file)
            if process is not None:
                raise CopyFailed(f"Process {process} has {self.file} open. Stop the server, then copy.")
            return
        with self.engine.connect() as connection:
            end = time.monotonic() + PATIENCE
            while (others := postgresql.other_connections(connection)) and time.monotonic() < end:
                time.sleep(_PAUSE)
        if others:
            raise CopyFailed(f"{others} other connections to {self.shown} are open. Stop each server, then copy.")

    @contextmanager
    def held(self) -> Iterator[ReadFrom]:
        """Keep everybody from writing, and provide what reads the database as it is."""
        usage_engine(self.engine).connect().close()  # made now where it is new, which takes the lock of the keys
        with ExitStack() as stack:
            connection = usage = stack.enter_context(self.engine.begin())
            if self.file is None:
                postgresql.hold_writers(connection)
            else:
                usage = stack.enter_context(usage_engine(self.engine).begin())
            yield lambda table: usage if table is not None and table in TABLES else connection

    @contextmanager
    def looking(self, table: Table) -> Iterator[Iterator[AnyRow]]:
        """Provide the rows of a table as they are now."""
        connected = self.engine_of(table).connect().execution_options(**{READ_ONLY: True})
        # Closed in any case: SQLite keeps to what a statement saw that was not read to its end.
        with connected as connection, closing(rows_of(connection, table)) as rows:
            yield rows

    def _find(self, file: Path, is_new: bool) -> None:
        if not is_new and not file.is_file():
            raise CopyFailed(f"There is no database at {file}, which {self.option} names.")
        if not file.parent.is_dir():
            raise CopyFailed(f"There is no folder {file.parent} for the database that {self.option} names. Make it.")
        if is_new:
            make_private(file, "")


def shown(url: str) -> str:
    """Return the address of a database without its password."""
    return make_url(url).render_as_string(hide_password=True)


def rows_of(connection: Connection, table: Table) -> Generator[AnyRow, None, None]:
    """Yield all rows by primary key, byte by byte: a collation of PostgreSQL's has another order."""
    by_bytes = connection.dialect.name == "postgresql"
    order = [collate(key, "C") if by_bytes and isinstance(key.type, String) else key for key in table.primary_key]
    with connection.execute(select(table).order_by(*order), execution_options={"yield_per": BATCH}) as found:
        yield from found


def digest_of(row: AnyRow) -> bytes:
    """Return SHA-256 over all values of a row, as Python has them: they are the same from each database."""
    return hashlib.sha256(repr(tuple(row)).encode("utf-8", "surrogatepass")).digest()


def name_of(row: AnyRow, table: Table) -> str:
    """Return the primary key of a row, which is no secret."""
    return ", ".join(str(row._mapping[key.name]) for key in table.primary_key)  # noqa: SLF001 - its public name
