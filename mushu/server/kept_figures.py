"""Figures of all keys of an organization, for pages that show them again and again.

Each key is looked at, whatever is counted. So the figures of an organization with many keys are kept for some seconds.
What the audit trail tells of the organization has its keys counted at once, and their requests when it is time.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import perf_counter
from typing import Final

from sqlalchemy import bindparam, func, select

from mushu.environment import Environment
from mushu.server.audit import AuditEvent
from mushu.server.environments import MomentParameters, Reader, Source, prepare
from mushu.server.figures import KINDS, KeyCounts, adding_up, counting, in_hours, last_hours
from mushu.server.hygiene import Compared
from mushu.server.keys.models import ApiKey
from mushu.server.keys.selection import IS_ALIVE
from mushu.server.usage.engine import reading_with_usage
from mushu.server.usage.report import Bar, UnusualKey, unusual_keys

#: Keys of an organization that are counted each time, and how old the figures of more may be.
FEW: Final = 250
KEPT: Final = timedelta(seconds=10)
#: So many times as long as it takes to count them they are kept, where that is more.
_TIMES: Final = 20
#: Organizations whose figures are kept.
_MOST_KEPT: Final = 100
_MOST_SMALL: Final = 10_000

_MOMENT: Final = MomentParameters()
_COMPARED: Final = Compared(bindparam("org_id"), _MOMENT.seconds, _MOMENT.at)
_MINE: Final = (ApiKey.org_id == _COMPARED.org_id, ApiKey.environment == bindparam("environment"))
_NAMES: Final = ("keys", "deleted", *KINDS)
_COUNTS: Final = prepare(
    counting(_MINE, [IS_ALIVE], {name: kind.conditions_on(_COMPARED) for name, kind in KINDS.items()}),
    lambda *counts: KeyCounts(**dict(zip(_NAMES, counts, strict=False))),  # the last one is of no use here
)
_HOURS: Final = prepare(adding_up([*_MINE, IS_ALIVE]))
_NEWEST: Final = prepare(
    select(func.max(AuditEvent.id).label("newest")).where(AuditEvent.org_id == bindparam("org_id"))
)


@dataclass(frozen=True, slots=True)
class OrgFigures:
    """What is told of all keys of an organization and environment."""

    counts: KeyCounts
    #: The last 24 hours, oldest first.
    hours: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class _Kept:
    figures: OrgFigures
    #: The newest event of the organization then; None where nobody looked before they were counted.
    newest: int | None
    since: datetime
    until: datetime
    #: None where nobody asked for it yet.
    unusual: Sequence[UnusualKey] | None = None


class KeptFigures:
    """The figures of organizations; those of many keys are kept for a while, and counts until something happens."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, Environment], _Kept] = {}
        #: Those that had few keys when they were last looked at.
        self._small: set[tuple[str, Environment]] = set()

    def of(self, source: Reader, now: datetime, org_id: str, environment: Environment) -> OrgFigures:
        """Return the figures, which may be as old as `KEPT` and `_TIMES` say where the keys are many.

        Raises:
            DatabaseUnavailable: the usage of keys cannot be read.
        """
        kept = self._kept.get((org_id, environment))
        newest = _NEWEST.rows(source, {"org_id": org_id})[0].newest if kept is not None else None
        if kept is None or not kept.since <= now < kept.until:
            began = perf_counter()
            read = _read if (org_id, environment) in self._small else _read_at_once
            figures = read(source, now, org_id, environment)
            lasts = max(KEPT, _TIMES * timedelta(seconds=perf_counter() - began))
            kept = _Kept(figures, newest, now, now + lasts)
        elif kept.newest != newest:
            counts = _counts(source, now, org_id, environment)
            kept = replace(kept, figures=replace(kept.figures, counts=counts), newest=newest)
        if kept.figures.counts.keys + kept.figures.counts.deleted > FEW:
            self._kept[org_id, environment] = kept
            while len(self._kept) > _MOST_KEPT:
                self._kept.pop(next(iter(self._kept)), None)  # another thread may have left it out
            self._small.discard((org_id, environment))
        elif len(self._small) < _MOST_SMALL:
            self._small.add((org_id, environment))
        return kept.figures

    def counts(self, source: Reader, now: datetime, org_id: str, environment: Environment) -> KeyCounts:
        """Return the counts of `of`; where the keys are few, nothing else is asked for.

        Raises:
            DatabaseUnavailable: the usage of keys cannot be read.
        """
        if (org_id, environment) in self._small:
            counts = _counts(source, now, org_id, environment)
            if counts.keys + counts.deleted <= FEW:
                return counts
        return self.of(source, now, org_id, environment).counts

    def unusual(self, source: Source, now: datetime, org_id: str, environment: Environment) -> Sequence[UnusualKey]:
        """Return the keys of which something unusual is to be told; of many keys it is as old as their figures.

        Raises:
            DatabaseUnavailable: the usage of keys cannot be read.
        """
        kept = self._kept.get((org_id, environment))
        if kept is not None and kept.unusual is not None and kept.since <= now < kept.until:
            return kept.unusual
        began = perf_counter()
        found = unusual_keys(source, now, org_id, environment)
        if kept is not None:
            lasts = max(kept.until - kept.since, _TIMES * timedelta(seconds=perf_counter() - began))
            self._kept[org_id, environment] = replace(kept, unusual=found, until=kept.since + lasts)
        return found


def _read(source: Reader, now: datetime, org_id: str, environment: Environment) -> OrgFigures:
    return OrgFigures(_counts(source, now, org_id, environment), _hours(source, now, org_id, environment))


def _read_at_once(source: Reader, now: datetime, org_id: str, environment: Environment) -> OrgFigures:
    """Read counts and hours beside each other: of many keys, each takes most of a second."""
    with ThreadPoolExecutor(1, "figures") as beside:
        hours = beside.submit(_hours, source, now, org_id, environment)
        return OrgFigures(_counts(source, now, org_id, environment), hours.result())


def _counts(source: Source, now: datetime, org_id: str, environment: Environment) -> KeyCounts:
    given = {"environment": environment.value, "org_id": org_id, **_MOMENT.values(now)}
    with reading_with_usage(source) as both:
        counts: KeyCounts = _COUNTS.rows(both, given)[0]
    return counts


def _hours(source: Source, now: datetime, org_id: str, environment: Environment) -> Sequence[Bar]:
    starts = last_hours(now, 24)
    given = {"environment": environment.value, "org_id": org_id, "since": starts[0]}
    with reading_with_usage(source) as both:
        return in_hours(starts, _HOURS.rows(both, given))
