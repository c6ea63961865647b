"""Pages of a list, newest first, with a cursor that stays good when rows come and go between two pages."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, Protocol, TypeVar

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from mushu.server.db import AnySession
from mushu.server.errors import Invalid

MOST: Final = 500
CURSOR_LENGTH: Final = 200


class Listed(Protocol):
    """A row that a list can be made of."""

    id: Any
    created_at: Any


Row = TypeVar("Row", bound=Listed)


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
    if window.cursor:
        query = query.where(tuple_(created_at, row_id) < _place(window.cursor))
    query = query.order_by(created_at.desc(), row_id.desc()).limit(window.limit + 1)
    rows = session.scalars(query).all()
    if len(rows) <= window.limit:
        return Page(rows, None)
    return Page(rows[: window.limit], _cursor(rows[window.limit - 1]))


def _cursor(row: Listed) -> str:
    return base64.urlsafe_b64encode(f"{row.created_at.isoformat()} {row.id}".encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[datetime, str]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode("ascii")
        moment, _, row_id = text.partition(" ")
        created_at = datetime.fromisoformat(moment).astimezone(UTC)
    except (binascii.Error, ValueError, OverflowError):
        created_at, row_id = None, ""
    if created_at is None or not row_id.isprintable() or not row_id:
        raise Invalid("Go on with the next_cursor of the page before, unchanged.", field="cursor")
    return created_at, row_id
