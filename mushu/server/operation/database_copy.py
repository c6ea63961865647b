"""Copies a whole database to another one, so that it can be killed at any moment and run again.

1. Nobody writes to the source: its server is stopped, and the lock of the writer is held until the end.
2. The target is empty, or a copy that was not finished. Until the end its revision says so, and no server starts on it.
3. Rows go over in the order of their primary keys, some at once. So what a killed run left are the first rows.
4. Each row is read again on both sides, and its digest compared. Then the target gets its revision.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from sqlalchemy import Connection, Table, func, insert, inspect, literal, select, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from mushu.batching import batches
from mushu.keyformat import mask
from mushu.server.db import READ_ONLY
from mushu.server.errors import CopyFailed
from mushu.server.operation.copied_rows import (
    BATCH,
    TABLES_IN_ORDER,
    AnyRow,
    CopiedDatabase,
    ReadFrom,
    digest_of,
    name_of,
    rows_of,
)
from mushu.server.operation.upgrading.migrations import (
    UNFINISHED_COPY,
    apply_migrations,
    migration_transaction,
    missing_in,
    revisions_of,
)

_VERSIONS: Final = "alembic_version"


@dataclass(frozen=True, slots=True)
class CopiedTable:
    """A table that is the same on both sides."""

    name: str
    rows: int
    #: SHA-256 over the digests of its rows, in their order.
    digest: str


class _RowsDiffer(Exception):
    """A row of one side is not that of the other; the message names it."""


def copy_database(source_url: str, target_url: str, tell: Callable[[str], None]) -> list[CopiedTable]:
    """Copy all rows, or the rest of them, and compare; return the tables.

    Args:
        tell: is given a sentence at each step.

    Raises:
        CopyFailed: it cannot be done. The source is as it was, and no server starts on the target.
    """
    with (
        CopiedDatabase("--from", source_url, is_new=False) as source,
        CopiedDatabase("--to", target_url, is_new=True) as target,
    ):
        if source.url == target.url:
            raise CopyFailed("--from and --to name the same database.")
        try:
            source.refuse_in_use()
            target.refuse_in_use()
            with source.held() as read_from:
                return _copy(read_from, target, tell)
        except DBAPIError as error:
            raise CopyFailed(
                f"A database failed: {_cause(error)}. Mend that, and run the same command again; it goes on."
            ) from None


def _copy(read_from: ReadFrom, target: CopiedDatabase, tell: Callable[[str], None]) -> list[CopiedTable]:
    revision = _revision_of(read_from(None), "--from")
    is_whole = _prepare(target, tell)
    try:
        if not is_whole:
            _continue(read_from, target)
    except _RowsDiffer as difference:
        tell(f"The source has changed since the copy was begun ({difference}), so it begins anew.")
        _empty(target)
        _continue(read_from, target)
    try:
        compared = [_compared(read_from(table), target, table) for table in TABLES_IN_ORDER]
    except _RowsDiffer as difference:
        if is_whole:
            raise CopyFailed(
                f"{target.shown} holds other rows ({difference}). Name a database that is empty."
            ) from None
        raise CopyFailed(
            f"The copy is not what was copied ({difference}): something else writes to {target.shown}, or changes "
            "values. Stop that, and run the same command again."
        ) from None
    if is_whole:
        tell("The target was a whole copy already.")
    else:
        _finish(target, revision)
    return compared


def _revision_of(connection: Connection, option: str) -> str:
    """Return the revision of a database, which is the one of this code."""
    missing = missing_in(connection)
    if missing:
        raise CopyFailed(
            f"The database of {option} is of an older version: it lacks {', '.join(missing)}. Run `flask database "
            "upgrade` on it first."
        )
    return ", ".join(revisions_of(connection))


def _prepare(target: CopiedDatabase, tell: Callable[[str], None]) -> bool:
    """Make the target one that is being copied to; tell whether it holds rows, and no copy was begun there."""
    with target.engine.connect().execution_options(**{READ_ONLY: True}) as connection:
        there = {*inspect(connection).get_table_names()}
        if strange := there - {_VERSIONS, *(table.name for table in TABLES_IN_ORDER)}:
            raise CopyFailed(f"{target.shown} holds tables of another program: {', '.join(sorted(strange))}.")
        if revisions_of(connection) == (UNFINISHED_COPY,):
            tell("A copy was begun before; it goes on.")
            return False
        if there:
            _revision_of(connection, "--to")
    if there and any(_holds_rows(target, table) for table in TABLES_IN_ORDER):
        return True
    with migration_transaction(target.engine) as connection:
        if not there:
            apply_migrations(connection)
        connection.execute(text(f"UPDATE {_VERSIONS} SET version_num = '{UNFINISHED_COPY}'"))  # noqa: S608
    return False


def _holds_rows(target: CopiedDatabase, table: Table) -> bool:
    with target.looking(table) as rows:
        return next(rows, None) is not None


def _continue(read_from: ReadFrom, target: CopiedDatabase) -> None:
    """Add the rows that the target lacks; those that it has must be the first ones.

    Raises:
        _RowsDiffer: they are not.
    """
    for table in TABLES_IN_ORDER:
        with target.looking(table) as there:
            for batch in batches(_missing(rows_of(read_from(table), table), there, table), BATCH):
                _add(target, table, batch)


def _missing(rows: Iterator[AnyRow], there: Iterator[AnyRow], table: Table) -> Iterator[AnyRow]:
    for row in rows:
        known = next(there, None)
        if known is None:
            yield row
        elif digest_of(known) != digest_of(row):
            raise _RowsDiffer(f"{name_of(row, table)} in {table.name}")
    left = next(there, None)
    if left is not None:
        raise _RowsDiffer(f"{name_of(left, table)} in {table.name}")


def _add(target: CopiedDatabase, table: Table, rows: list[AnyRow]) -> None:
    """Commit some rows at once; where one cannot be stored, those before it, so that the message can name it."""
    try:
        with target.engine_of(table).begin() as connection:
            connection.execute(insert(table), [dict(row._mapping) for row in rows])  # noqa: SLF001
    except (DataError, IntegrityError) as error:
        if len(rows) == 1:
            raise CopyFailed(
                f"The row {name_of(rows[0], table)} of {table.name} cannot be stored there: {_cause(error)}. Change it "
                "in the source, and run the same command again."
            ) from None
        for row in rows:
            _add(target, table, [row])


def _empty(target: CopiedDatabase) -> None:
    for table in reversed(TABLES_IN_ORDER):
        with target.engine_of(table).begin() as connection:
            connection.execute(table.delete())


def _compared(reading: Connection, target: CopiedDatabase, table: Table) -> CopiedTable:
    """Compare each row of both sides.

    Raises:
        _RowsDiffer: one differs, or is on one side only.
    """
    whole, count = hashlib.sha256(), 0
    with target.looking(table) as there:
        for row, other in zip_longest(rows_of(reading, table), there):
            if row is None or other is None or digest_of(row) != digest_of(other):
                raise _RowsDiffer(f"{name_of(row if row is not None else other, table)} in {table.name}")
            whole.update(digest_of(row))
            count += 1
    return CopiedTable(table.name, count, whole.hexdigest())


def _finish(target: CopiedDatabase, revision: str) -> None:
    """Let numbers that the database gives go on where they were, and servers start."""
    with target.engine.begin() as connection:
        for table in TABLES_IN_ORDER:
            column = table.autoincrement_column
            if column is not None and connection.dialect.name == "postgresql":
                highest = connection.scalar(select(func.max(column)))
                sequence = func.pg_get_serial_sequence(table.name, column.name)
                connection.execute(select(func.setval(sequence, highest or 1, literal(highest is not None))))
        connection.execute(text(f"UPDATE {_VERSIONS} SET version_num = :revision"), {"revision": revision})  # noqa: S608


def _cause(error: DBAPIError) -> str:
    """Return the first line of what the driver says: others may repeat values."""
    return mask(str(error.orig).strip().partition("\n")[0])
