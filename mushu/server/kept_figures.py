"""Figures of all keys of an organization, for pages that show them again and again.

Each key is looked at, whatever is counted. So the figures of an organization with many keys are kept for some seconds;
what the audit trail tells of the organization ends that at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, exists, func, select

from mushu.environment import Environment
from mushu.server.audit import AuditEvent
from mushu.server.environments import Source, prepare
from mushu.server.figures import KINDS, SINCE, KeyCounts, counting, in_hours, last_hours
from mushu.server.hygiene import MomentParameters
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import IS_ALIVE
from mushu.server.usage.engine import reading_with_usage
from mushu.server.usage.models import UsagePeriod
from mushu.server.usage.report import Bar

#: Keys of an organization that are counted each time, and how old the figures of more may be.
FEW: Final = 250
KEPT: Final = timedelta(seconds=10)
#: Organizations whose figures are kept.
_MOST_KEPT: Final = 100

_MOMENT: Final = MomentParameters()
_MINE: Final = (ApiKey.org_id == _MOMENT.compared.org_id, ApiKey.environment == bindparam("environment"))
_COUNTS: Final = prepare(
    counting(_MINE, [IS_ALIVE], {name: kind.conditions_on(_MOMENT.compared) for name, kind in KINDS.items()})
)
_HOURS: Final = prepare(
    select(UsagePeriod.start, func.sum(UsagePeriod.requests), func.sum(UsagePeriod.denials))
    .where(*SINCE, exists().where(ApiKey.id == UsagePeriod.key_id, *_MINE, IS_ALIVE))
    .group_by(UsagePeriod.start)
)
_NEWEST: Final = prepare(
    select(func.max(AuditEvent.id).label("newest")).where(AuditEvent.org_id == bindparam("org_id"))
)


@dataclass(frozen=True, slots=True)
class OrgFigures:
    """What is told of all keys of an organization and environment."""

    counts: KeyCounts
    #: The last 24 hours, oldest first.
    hours: Sequence[Bar]


class KeptFigures:
    """The figures of organizations; those of many keys are kept for `KEPT`, and no longer than nothing happened."""

    def __init__(self) -> None:
        #: By organization and environment: the newest event of the organization then, when that was, and the figures.
        self._kept: dict[tuple[str, Environment], tuple[int, datetime, OrgFigures]] = {}

    def of(self, source: Source, now: datetime, org_id: str, environment: Environment) -> OrgFigures:
        """Return the figures, which may be as old as `KEPT` says where the keys are many.

        Raises:
            DatabaseUnavailable: the usage of keys cannot be read.
        """
        kept = self._kept.get((org_id, environment))
        newest = _NEWEST.rows(source, {"org_id": org_id})[0].newest if kept is not None else None
        if kept is not None and kept[0] == newest and now - KEPT < kept[1] <= now:
            return kept[2]
        found = _figures(source, now, org_id, environment)
        self._kept.pop((org_id, environment), None)
        if found.counts.keys + found.counts.deleted > FEW:
            self._kept[org_id, environment] = (newest or 0, now, found)  # 0: nobody looked before they were counted
            while len(self._kept) > _MOST_KEPT:
                self._kept.pop(next(iter(self._kept)), None)  # another thread may have left it out
        return found


def _figures(source: Source, now: datetime, org_id: str, environment: Environment) -> OrgFigures:
    given = {"environment": environment.value, **_MOMENT.values(now, org_id)}
    starts = last_hours(now, 24)
    with reading_with_usage(source) as both:
        row = _COUNTS.rows(both, given)[0]
        hours = _HOURS.rows(both, {**given, "since": starts[0]})
    return OrgFigures(
        KeyCounts(**{field.name: getattr(row, field.name) for field in fields(KeyCounts)}), in_hours(starts, hours)
    )
