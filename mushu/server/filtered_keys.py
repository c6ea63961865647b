"""Keys that filters mean, for pages that show them: a page, how many they are, and their hours.

Building a statement takes three times as long as asking it of fifty keys. So each combination of filters is built and
compiled once, with what they are filtered by as parameters; a few combinations are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import ColumnElement, String, bindparam, func, select

from mushu.environment import Environment
from mushu.server.environments import MomentParameters, Prepared, Reader, prepare
from mushu.server.figures import adding_up, in_hours, last_hours
from mushu.server.hygiene import ORDERS, Compared, Hygiene, Sort, by_index
from mushu.server.keys.models import RECORD, ApiKey
from mushu.server.keys.records import KeyRecord
from mushu.server.keys.selection import Selection, StateAt, searched
from mushu.server.paging import Order, Page, PreparedPages, Window
from mushu.server.usage.report import Bar

#: Combinations of filters whose statements are kept.
_MOST_KEPT: Final = 64
_NEWEST_FIRST: Final = Order((ApiKey.created_at, ApiKey.id), descending=True)
#: Stands for what differs between two requests with the same filters.
_GIVEN: Final = "?"
_NO_MOMENT: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FilteredKeys:
    """The keys of an organization and environment that filters mean; the reader has to see their usage, too.

    Raises:
        Invalid: what is searched is a whole key.
    """

    org_id: str
    environment: Environment
    selection: Selection
    hygiene: Hygiene
    now: datetime

    def page(self, source: Reader, window: Window, sort: Sort) -> Page[KeyRecord]:
        """Return a page of them in this order.

        Raises:
            Invalid: the cursor is not one of ours.
        """
        asked = self._asked
        return asked.pages(sort).page(source, self._values(asked), window)

    def count(self, source: Reader) -> int:
        asked = self._asked
        return int(asked.count.rows(source, self._values(asked))[0][0])

    def hours(self, source: Reader) -> Sequence[Bar]:
        """Return their last 24 hours, oldest first, added up."""
        asked, starts = self._asked, last_hours(self.now, 24)
        return in_hours(starts, asked.hours.rows(source, {**self._values(asked), "since": starts[0]}))

    @property
    def _asked(self) -> "_Statements":
        selection, hygiene = self.selection, self.hygiene
        name, search, creator = (text and _GIVEN for text in (selection.name, selection.search, hygiene.created_by))
        state = replace(selection.state, now=_NO_MOMENT) if selection.state is not None else None
        return _statements(
            replace(selection, name=name, search=search, state=state),
            replace(hygiene, created_by=creator, at=None if hygiene.at is None else (_GIVEN,)),
        )

    def _values(self, asked: "_Statements") -> dict[str, Any]:
        selection, hygiene = self.selection, self.hygiene
        given: dict[str, Any] = {"org_id": self.org_id, "environment": self.environment.value}
        if selection.name:
            given["name"] = selection.name
        if selection.search:
            given |= searched(selection.search)
        if hygiene.created_by is not None:
            given |= {"creator": hygiene.created_by, "email": hygiene.created_by.strip().lower()}
        if hygiene.at is not None:
            given["at"] = hygiene.at
        return given | asked.moment.values(self.now)


class _Statements:
    """What is asked with the same filters, whatever they are filtered by."""

    def __init__(self, selection: Selection, hygiene: Hygiene) -> None:
        self.moment = MomentParameters()
        compared = Compared(bindparam("org_id"), self.moment.seconds, self.moment.at, _parameter)
        self._selection, self._hygiene = selection, hygiene
        if selection.state is not None:
            selection = replace(selection, state=StateAt(selection.state.state, self.moment.now))
        selection = replace(selection, conditions=hygiene.conditions_on(compared))
        mine = ApiKey.environment == bindparam("environment", type_=String)
        self._meant = [mine, *selection.criteria(compared.org_id, _parameter)]
        self._pages: dict[Sort, PreparedPages] = {}
        self.count: Prepared = prepare(select(func.count()).select_from(ApiKey).where(*self._meant))
        self.hours: Prepared = prepare(adding_up(self._meant))

    def pages(self, sort: Sort) -> PreparedPages:
        if sort not in self._pages:
            query = select(*RECORD).where(*self._meant, *by_index(self._selection, self._hygiene, sort))
            self._pages[sort] = PreparedPages(query, ORDERS.get(sort, _NEWEST_FIRST), KeyRecord)
        return self._pages[sort]


_statements = lru_cache(_MOST_KEPT)(_Statements)


def _parameter(name: str, value: Any) -> ColumnElement[Any]:
    return bindparam(name, type_=String, expanding=not isinstance(value, str))
