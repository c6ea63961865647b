"""Pages of a list, with a cursor that stays good when rows come and go between two pages; and deletions, a few at once.

No statement and no answer is about more rows than one page has, however many there are. What needs every row goes
through the pages: `iterate` within the caller's transaction, `in_pages` with one for each page.
"""

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, Integer, Select, String, bindparam, tuple_
from sqlalchemy import Row as FoundRow
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.functions import FunctionElement

from mushu.server.compiled import as_read
from mushu.server.db import AnySession, UTCDateTime, reading, writing
from mushu.server.environments import Source, prepare
from mushu.server.errors import Invalid

MOST: Final = 500
#: A cursor may hold a name: 200 characters of four bytes, and an id.
CURSOR_LENGTH: Final = 1_200
_LARGEST_ID: Final = 2**63 - 1
#: Rows that one transaction of `delete_in_rounds` deletes: SQLite has one writer at a time.
DELETED_AT_ONCE: Final = 500
#: Transactions of one round: even a writer that waits for all of them does not wait long.
DELETIONS_OF_A_ROUND: Final = 20

Row = TypeVar("Row")
RowId = TypeVar("RowId")
Shown = TypeVar("Shown")


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a list is asked for: `limit` rows, after those that `cursor` stands for."""

    limit: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    rows: Sequence[Row]
    #: Where the next page begins; None where this is the last.
    next_cursor: str | None

    def shown(self, show: Callable[[Row], Shown]) -> "Page[Shown]":
        """Return the same page with what `show` makes of each row."""
        return Page([show(row) for row in self.rows], self.next_cursor)


@dataclass(frozen=True, slots=True)
class Order:
    """What a list is ordered by: columns that together tell each row from all others; a text may be the first only."""

    columns: tuple[InstrumentedAttribute[Any], ...]
    descending: bool = False


class Folded(FunctionElement[str]):
    """A text with small letters for A to Z, ordered by code points on every database; an index can be of it."""

    type = String()
    name = "folded"
    inherit_cache = True


@compiles(Folded)
def _on_sqlite(element: Folded, compiler: Any, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(Folded, "postgresql")
def _on_postgresql(element: Folded, compiler: Any, **options: Any) -> str:
    return f'lower(({compiler.process(element.clauses, **options)}) COLLATE "C")'


@dataclass(frozen=True, slots=True)
class ComputedOrder:
    """An order by what is computed of each row: a page costs a look at all rows, unless an index has what is computed.

    A page keeps no more rows than its own.
    """

    columns: tuple[ColumnElement[Any] | InstrumentedAttribute[Any], ...]
    descending: bool = False


def page(
    session: AnySession,
    query: Select[Any],
    created_at: InstrumentedAttribute[datetime],
    row_id: InstrumentedAttribute[str],
    window: Window,
) -> Page[Any]:
    """Return one page of what `query` finds, newest first; the two columns are those it is ordered by.

    Raises:
        Invalid: the cursor is not one of ours.
    """
    return ordered_page(session, query, Order((created_at, row_id), descending=True), window)


def ordered_page(session: AnySession, query: Select[Any], order: Order, window: Window) -> Page[Any]:
    """Return one page of what `query` finds, in this order.

    Raises:
        Invalid: the cursor is not one of ours.
    """
    if window.cursor:
        query = _after(query, order, _place(window.cursor, order))
    return _cut(session.scalars(_in_order(query, order).limit(window.limit + 1)).all(), order, window)


def computed_page(
    session: AnySession, queries: Sequence[Select[Any]], order: ComputedOrder, window: Window
) -> Page[Any]:
    """Return one page of what the queries find together, no row twice, in this order.

    Raises:
        Invalid: the cursor is not one of ours.
    """
    rows: list[FoundRow[Any]] = []
    for query in queries:
        if window.cursor:
            place = _place(window.cursor, order)
            query = _after(query.where(_from(order, place[0])), order, place)
        rows += session.execute(_in_order(query.add_columns(*order.columns), order).limit(window.limit + 1)).all()
    if len(queries) > 1:
        rows.sort(key=lambda row: tuple(row[1:]), reverse=order.descending)
    return _cut_placed(rows, window)


class PreparedPages:
    """The pages of a list, as those of `ordered_page` or `computed_page`, by statements that are compiled once.

    Args:
        query: selects columns, those of an `Order` among them; its parameters have names.
        make: as in `prepare`; what it makes has the attributes of an `Order`.
    """

    def __init__(
        self, query: Select[*tuple[Any, ...]], order: Order | ComputedOrder, make: Callable[..., Any] | None = None
    ) -> None:
        self._order = order
        if isinstance(order, ComputedOrder):
            query, make = query.add_columns(*order.columns), partial(_placed, make or as_read, len(order.columns))
        ordered = _in_order(query, order).limit(bindparam("limit", type_=Integer))
        self._places = [f"place_{column.key}" for column in order.columns]
        place = [bindparam(name, type_=column.type) for name, column in zip(self._places, order.columns, strict=True)]
        after = _after(ordered, order, place)
        if isinstance(order, ComputedOrder):
            after = after.where(_from(order, place[0]))
        self._first, self._next = prepare(ordered, make), prepare(after, make)

    def page(self, source: Source, values: Mapping[str, Any], window: Window) -> Page[Any]:
        """Return one page of what is found with these values.

        Raises:
            Invalid: the cursor is not one of ours.
        """
        given = {**values, "limit": window.limit + 1}
        if window.cursor:
            place = zip(self._places, _place(window.cursor, self._order), strict=True)
            rows = self._next.rows(source, given | dict(place))
        else:
            rows = self._first.rows(source, given)
        return _cut(rows, self._order, window) if isinstance(self._order, Order) else _cut_placed(rows, window)


def merged_page(session: AnySession, queries: Sequence[Select[Any]], order: Order, window: Window) -> Page[Any]:
    """Return one page of what the queries find together, each row once, in this order.

    Several queries, each in the order of an index, cost a page each; one with OR or IN sorts all that it finds.

    Raises:
        Invalid: the cursor is not one of ours.
    """
    pages = [ordered_page(session, query, order, window) for query in queries]
    found = dict.fromkeys(row for one in pages for row in one.rows)
    rows = sorted(found, key=lambda row: _values(row, order), reverse=order.descending)
    if len(rows) <= window.limit and not any(one.next_cursor for one in pages):
        return Page(rows, None)
    return Page(rows[: window.limit], _cursor(rows[window.limit - 1], order))


def iterate(fetch: Callable[[Window], Page[Row]]) -> Iterator[Row]:
    """Yield the rows of all pages, a page in memory at a time, within the caller's transaction."""
    window = Window(MOST)
    while True:
        found = fetch(window)
        yield from found.rows
        if found.next_cursor is None:
            return
        window = Window(MOST, found.next_cursor)


def in_pages(session: AnySession, fetch: Callable[[Window], Page[Row]]) -> Iterator[Row]:
    """Yield the rows of all pages; no transaction is open while the caller does something with them."""

    def fetch_alone(window: Window) -> Page[Row]:
        with reading(session):
            return fetch(window)

    return iterate(fetch_alone)


def _in_order(query: Select[*tuple[Any, ...]], order: Order | ComputedOrder) -> Select[*tuple[Any, ...]]:
    return query.order_by(*(column.desc() if order.descending else column.asc() for column in order.columns))


def _after(
    query: Select[*tuple[Any, ...]], order: Order | ComputedOrder, place: Sequence[Any]
) -> Select[*tuple[Any, ...]]:
    columns, values = tuple_(*order.columns), tuple_(*place)
    return query.where(columns < values if order.descending else columns > values)


def _from(order: ComputedOrder, place: Any) -> ColumnElement[bool]:
    """Return where to begin: SQLite finds the place of a row of values in no index that has what is computed."""
    first: Any = order.columns[0]
    return first <= place if order.descending else first >= place  # type: ignore[no-any-return]


def _placed(make: Callable[..., Any], width: int, *values: Any) -> tuple[Any, ...]:
    return make(*values[:-width]), *values[-width:]


def _cut_placed(rows: Sequence[Any], window: Window) -> Page[Any]:
    """Return the page of rows that each have their place behind them."""
    found = [row[0] for row in rows[: window.limit]]
    return Page(found, _written(rows[window.limit - 1][1:]) if len(rows) > window.limit else None)


def _cut(rows: Sequence[Any], order: Order, window: Window) -> Page[Any]:
    if len(rows) <= window.limit:
        return Page(rows, None)
    return Page(rows[: window.limit], _cursor(rows[window.limit - 1], order))


def _cursor(row: object, order: Order) -> str:
    return _written(_values(row, order))


def _written(values: Iterable[Any]) -> str:
    text = " ".join(value.isoformat() if isinstance(value, datetime) else str(value) for value in values)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _values(row: object, order: Order) -> list[Any]:
    return [getattr(row, column.key) for column in order.columns]


def _place(cursor: str, order: Order | ComputedOrder) -> list[datetime | int | str]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
        parts = text.rsplit(" ", len(order.columns) - 1)
        return [_value(part, column) for part, column in zip(parts, order.columns, strict=True)]
    except (binascii.Error, ValueError, OverflowError):
        pass
    raise Invalid("Go on with the next_cursor of the page before, unchanged.", field="cursor")


def _value(text: str, column: ColumnElement[Any] | InstrumentedAttribute[Any]) -> datetime | int | str:
    if isinstance(column.type, UTCDateTime):
        return datetime.fromisoformat(text).astimezone(UTC)
    if isinstance(column.type, Integer):
        if not 0 <= int(text) <= _LARGEST_ID:
            raise ValueError(text)
        return int(text)
    if not text or "\0" in text:  # PostgreSQL takes none
        raise ValueError(text)
    return text


def delete_in_rounds(
    session: AnySession, find: Callable[[int], Sequence[RowId]], delete: Callable[[Sequence[RowId]], int]
) -> int:
    """Delete a few rows with each transaction, until none is found or the round is over; return how many those were.

    Args:
        find: returns the ids of at most so many rows. It is asked without the lock of a writer.
        delete: deletes them, and returns how many that were.
    """
    deleted = 0
    for _ in range(DELETIONS_OF_A_ROUND):
        with reading(session):
            due = find(DELETED_AT_ONCE)
        if not due:
            break
        with writing(session):
            deleted += delete(due)
    return deleted
