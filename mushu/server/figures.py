"""Figures of many keys: how many somebody should look at, and their requests by hour; each costs one statement."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Select, String, and_, bindparam, func, select, type_coerce

from mushu.server.compiled import as_read
from mushu.server.db import AnySession, UTCDateTime
from mushu.server.environments import Source, prepare
from mushu.server.hygiene import Hygiene
from mushu.server.keys.models import ApiKey
from mushu.server.keys.selection import IS_ALIVE, Selection
from mushu.server.usage.engine import reading_usage, reading_with_usage
from mushu.server.usage.models import HOUR, KeyUse, UsagePeriod
from mushu.server.usage.report import Bar

#: How soon a key ends that is counted as expiring, and how long one was not used that is counted as idle.
SOON: Final = timedelta(days=30)
LONG: Final = timedelta(days=90)
#: Hours that are told of each key of a page.
HOURS_OF_A_KEY: Final = 36
_HOUR: Final = timedelta(seconds=HOUR)
#: With the parameter `since`: hours from then on.
SINCE: Final = (UsagePeriod.seconds == HOUR, UsagePeriod.start >= bindparam("since", type_=UTCDateTime))
# Columns as the driver has them: of fifty keys there are 1,800, and making a moment of each takes longer than all else.
_START: Final = type_coerce(UsagePeriod.start, String).label("start")
_BY_KEY: Final = prepare(
    select(UsagePeriod.key_id, _START, UsagePeriod.requests, UsagePeriod.denials).where(
        UsagePeriod.key_id.in_(bindparam("ids", expanding=True)), *SINCE
    ),
    as_read,
)
#: Of a key: the place of an hour among the last ones, 0 for the oldest, and its requests and denials.
UsedHour: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCounts:
    """How many keys are meant, and of those how many each kind of hygiene finds."""

    keys: int
    #: Deleted, or never delivered; none of the other numbers counts them where they are not asked for.
    deleted: int
    drifted: int
    stalled: int
    expiring: int
    unused: int
    idle: int
    owner_left: int
    no_expiry: int


KINDS: Final[dict[str, Hygiene]] = {
    "drifted": Hygiene(drifted=True),
    "stalled": Hygiene(stalled=True),
    "expiring": Hygiene(expires_within=SOON),
    "unused": Hygiene(unused=True),
    "idle": Hygiene(idle=LONG),
    "owner_left": Hygiene(owner_left=True),
    "no_expiry": Hygiene(no_expiry=True),
}


def count_keys(
    session: AnySession, now: datetime, org_id: str, selection: Selection, hygiene: Hygiene | None = None
) -> KeyCounts:
    """Count the keys that a list with the same filters would show, by kind; one statement.

    Raises:
        Invalid: what is searched is a whole key.
        DatabaseUnavailable: the usage of keys cannot be read.
    """
    meant = _criteria(now, org_id, replace(selection, with_deleted=True), hygiene)
    shown: list[ColumnElement[bool]] = [] if selection.with_deleted or selection.state is not None else [IS_ALIVE]
    kinds = {name: kind.conditions(now, org_id) for name, kind in KINDS.items()}
    with reading_with_usage(session) as both:
        row = both.execute(counting(meant, shown, kinds)).one()
    return KeyCounts(**{field.name: getattr(row, field.name, row.all_of_them) for field in fields(KeyCounts)})


def count_listed(
    session: AnySession, now: datetime, org_id: str, selection: Selection, hygiene: Hygiene | None = None
) -> int:
    """Return how many keys a list with the same filters would show; of many, far sooner than `count_keys`.

    Raises:
        Invalid: what is searched is a whole key.
        DatabaseUnavailable: the usage of keys cannot be read.
    """
    query = select(func.count()).select_from(ApiKey).where(*_criteria(now, org_id, selection, hygiene))
    with reading_with_usage(session) as both:
        return both.scalars(query).one()


def counting(
    meant: Sequence[ColumnElement[bool]],
    shown: Sequence[ColumnElement[bool]],
    of_kinds: Mapping[str, Sequence[ColumnElement[bool]]],
) -> Select[*tuple[Any, ...]]:
    kinds: dict[str, Sequence[ColumnElement[bool]]] = {"keys": shown, "deleted": [~IS_ALIVE]}
    kinds |= {name: [*shown, *conditions] for name, conditions in of_kinds.items()}
    counts = [func.count().filter(and_(*conditions)).label(name) for name, conditions in kinds.items() if conditions]
    return select(*counts, func.count().label("all_of_them")).select_from(ApiKey).where(*meant)


def hours_of_keys(
    session: AnySession, now: datetime, org_id: str, selection: Selection, hygiene: Hygiene | None = None
) -> Sequence[Bar]:
    """Return the last 24 hours, oldest first, of the keys that a list would show, added up; one statement.

    Raises:
        Invalid: what is searched is a whole key.
        DatabaseUnavailable: the usage of keys cannot be read.
    """
    starts = last_hours(now, 24)
    query = adding_up(_criteria(now, org_id, selection, hygiene))
    with reading_with_usage(session) as both:
        return in_hours(starts, both.execute(query, {"since": starts[0]}))


def adding_up(meant: Sequence[ColumnElement[bool]]) -> Select[*tuple[Any, ...]]:
    """Select the requests and denials by hour, of keys that meet all of this, with the parameter `since`.

    Outer, so that SQLite begins with the keys: the hours of others are many where the keys that are meant are few.
    """
    sums = (func.sum(UsagePeriod.requests), func.sum(UsagePeriod.denials))
    of_key = and_(UsagePeriod.key_id == ApiKey.id, *SINCE)
    hours = select(UsagePeriod.start, *sums).select_from(ApiKey).outerjoin(UsagePeriod, of_key)
    return hours.where(*meant).group_by(UsagePeriod.start)


def in_hours(starts: Sequence[datetime], rows: Iterable[Any]) -> list[Bar]:
    """Return an hour for each of these starts; keys without any have a row without a start."""
    counted = [(start, requests, denials) for start, requests, denials in rows if start is not None]
    found = {start: Bar(start, int(requests), int(denials)) for start, requests, denials in counted}
    return [found.get(start) or Bar(start) for start in starts]


class LastUse(NamedTuple):
    """The last use of a key."""

    key_id: str
    last_used_at: datetime
    last_used_from: str


_LAST_USES: Final = prepare(
    select(KeyUse.key_id, KeyUse.last_used_at, KeyUse.last_used_from).where(
        KeyUse.key_id.in_(bindparam("ids", expanding=True))
    ),
    LastUse,
)


def last_uses_of(source: Source, key_ids: Sequence[str]) -> dict[str, LastUse]:
    """Return when and from where each of a page of keys was last used, by key id; one statement.

    Raises:
        DatabaseUnavailable: the usage of keys cannot be read.
    """
    with reading_usage(source) as usage:
        return {use.key_id: use for use in _LAST_USES.rows(usage, {"ids": key_ids})}


def hours_by_key(source: Source, now: datetime, key_ids: Sequence[str]) -> dict[str, list[UsedHour]]:
    """Return those of the last 36 hours in which each of a page of keys was used; one statement.

    Raises:
        DatabaseUnavailable: the usage of keys cannot be read.
    """
    starts = last_hours(now, HOURS_OF_A_KEY)
    places = _places_of(starts[0])
    found: dict[str, list[UsedHour]] = {key_id: [] for key_id in key_ids}
    with reading_usage(source) as usage:
        for key_id, start, requests, denials in _BY_KEY.rows(usage, {"ids": key_ids, "since": starts[0]}):
            place = places.get(start)
            if place is not None:  # an hour that begins while the page is made has none
                found[key_id].append((place, requests, denials))
    return found


def added_up(now: datetime, of_keys: Iterable[Sequence[UsedHour]]) -> Sequence[Bar]:
    """Return the last 24 hours, oldest first, of keys whose hours were read, added up."""
    requests, denials = [0] * HOURS_OF_A_KEY, [0] * HOURS_OF_A_KEY
    for hours in of_keys:
        for place, asked, refused in hours:
            requests[place] += asked
            denials[place] += refused
    starts = last_hours(now, 24)
    return [*map(Bar, starts, requests[-len(starts) :], denials[-len(starts) :])]


@lru_cache(maxsize=4)
def _places_of(first: datetime) -> dict[object, int]:
    """Return the place of each of the last hours, by its start as drivers have it: a moment, or the text in SQLite."""
    starts = [(place, first + _HOUR * place) for place in range(HOURS_OF_A_KEY)]
    return {start: place for place, start in starts} | {
        f"{start:%Y-%m-%d %H:%M:%S.%f}": place for place, start in starts
    }


def total(bars: Iterable[Bar]) -> tuple[int, int]:
    """Return the requests and the denials of some hours together."""
    requests = denials = 0
    for bar in bars:
        requests += bar.requests
        denials += bar.denials
    return requests, denials


def _criteria(now: datetime, org_id: str, selection: Selection, hygiene: Hygiene | None) -> list[ColumnElement[bool]]:
    conditions = hygiene.conditions(now, org_id) if hygiene is not None else ()
    criteria = replace(selection, conditions=(*selection.conditions, *conditions)).criteria(org_id)
    return [*criteria, ApiKey.environment.in_(selection.environments)]


def last_hours(now: datetime, number: int) -> Sequence[datetime]:
    return _hours_until(now.replace(minute=0, second=0, microsecond=0), number)


@lru_cache(maxsize=8)
def _hours_until(hour: datetime, number: int) -> Sequence[datetime]:
    return tuple(hour - _HOUR * back for back in reversed(range(number)))
