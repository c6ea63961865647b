"""Where the tables of usage are: in a database of their own beside SQLite's, or in PostgreSQL.

On SQLite a commit to the database of the keys would empty the gate's cache. So the tables stand in a file of their own,
which begins with the uses that earlier versions wrote beside the keys. Where it is taken away, another begins.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.schema import CreateIndex, CreateTable

from mushu.server.db import own_session, prepare_engine, reading
from mushu.server.environments import Reader, Source
from mushu.server.errors import DatabaseUnavailable
from mushu.server.instance import make_private, sqlite_url
from mushu.server.read_connections import ReadConnections
from mushu.server.usage.models import TABLES, KeyUse

_MAKING: Final = threading.Lock()
_ENGINE: Final = "mushu_usage"
_BOTH: Final = "mushu_keys_and_usage"
_READS: Final = "mushu_usage_reads"
_VERSION: Final = 1
Asked = TypeVar("Asked", bound=Source)


def usage_engine(engine: Engine) -> Engine:
    """Return the engine of the tables of usage; it belongs to that of the keys, and is disposed of with it."""
    database = _database(engine)
    if database is None:
        return engine
    with _MAKING:
        file, known = _usage_file(database), engine.get_execution_options().get(_ENGINE)
        if known is not None and known[1] != _identity(file):  # it was taken away, or another was put in its place
            known[0].dispose()
            known = None
        if known is None:
            if make_private(file, ""):
                for ending in ("-wal", "-shm"):  # of a file that is gone
                    Path(f"{file}{ending}").unlink(missing_ok=True)
            made = create_engine(sqlite_url(file), hide_parameters=True)
            prepare_engine(made)
            event.listen(made, "connect", lambda connection, _: _set_up(connection, made, database))
            event.listen(engine, "engine_disposed", lambda _: made.dispose())
            known = made, _identity(file)
            engine.update_execution_options(**{_ENGINE: known})
        usage: Engine = known[0]
        return usage


@contextmanager
def reading_usage(source: Asked) -> Iterator[Asked]:
    """Provide what reads usage, from within a transaction of a session for the keys, or for a reader.

    Raises:
        DatabaseUnavailable: the file of usage cannot be read.
    """
    with _reading(source, lambda engine, _: usage_engine(engine)) as usage:
        yield cast(Asked, usage)


@contextmanager
def reading_with_usage(source: Asked) -> Iterator[Asked]:
    """Provide what statements about keys and usage are asked of, from within a transaction or for a reader.

    Raises:
        DatabaseUnavailable: the file of usage cannot be read.
    """
    with _reading(source, _both_engine) as both:
        yield cast(Asked, both)


class _UsageReads(ReadConnections):
    """Reads of keys and usage alike."""


@contextmanager
def _reading(source: Source, engine_for: Callable[[Engine, Path], Engine]) -> Iterator[Source]:
    if isinstance(source, Reader) and isinstance(source.connections, _UsageReads):
        yield source
        return
    engine = source.connections.engine if isinstance(source, Reader) else source.get_bind().engine
    database = _database(engine)
    if database is None or not _usage_file(database).exists():  # this version has counted nothing yet
        yield source
        return
    try:
        if isinstance(source, Reader):
            yield replace(source, connections=_both_reads(_both_engine(engine, database)))
            return
        with own_session(engine_for(engine, database)) as session, reading(session):
            yield session
    except DatabaseError as error:
        raise DatabaseUnavailable("The usage of keys cannot be read. `flask doctor` says what to do.") from error


def _both_reads(both: Engine) -> ReadConnections:
    with _MAKING:
        known: ReadConnections | None = both.get_execution_options().get(_READS)
        if known is None:
            known = _UsageReads(both)
            both.update_execution_options(**{_READS: known})
        return known


def _both_engine(engine: Engine, database: Path) -> Engine:
    """Return the engine whose connections see the tables of usage first, and behind them those of the keys.

    They only read: a writer of one of the two files is kept waiting by nobody. They end with the engine of usage, which
    is another one where its file was taken away.
    """
    usage = usage_engine(engine)  # makes the tables
    with _MAKING:
        known: Engine | None = usage.get_execution_options().get(_BOTH)
        if known is not None:
            return known
        both = create_engine(sqlite_url(_usage_file(database)), hide_parameters=True)
        prepare_engine(both)
        event.listen(both, "connect", lambda connection, _: _attach(connection, database))
        event.listen(usage, "engine_disposed", lambda _: both.dispose())
        usage.update_execution_options(**{_BOTH: both})
        return both


def _attach(connection: Any, database: Path) -> None:
    connection.execute("ATTACH ? AS keys", (str(database),))
    connection.execute("PRAGMA query_only=ON")


def _database(engine: Engine) -> Path | None:
    """Return the file of the database of the keys; None where the tables of usage are in that database."""
    file = engine.url.database
    return _path(file) if engine.dialect.name == "sqlite" and file not in (None, "", ":memory:") else None


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


_path: Final = lru_cache(Path)  # each costs more than a look at the file


@lru_cache
def _usage_file(database: Path) -> Path:
    return database.with_name(f"{database.stem}-usage{database.suffix}")


def _set_up(connection: Any, engine: Engine, database: Path) -> None:
    """Make the tables in a new file, with the uses that are written beside the keys."""
    if connection.execute("PRAGMA user_version").fetchone()[0] >= _VERSION:
        return
    connection.execute("ATTACH ? AS keys", (str(database),))
    try:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] < _VERSION:
            for table in TABLES:
                connection.execute(str(CreateTable(table).compile(dialect=engine.dialect)))
                for index in table.indexes:
                    connection.execute(str(CreateIndex(index).compile(dialect=engine.dialect)))
            columns = ", ".join(column.name for column in KeyUse.__table__.columns)
            written_before = f"SELECT {columns} FROM keys.key_uses"  # noqa: S608 - our own names
            connection.execute(f"INSERT INTO main.key_uses ({columns}) {written_before}")
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute("DETACH keys")
