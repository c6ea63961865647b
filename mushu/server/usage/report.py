"""What is told of the usage of one key, and what is unusual about it, in plain words.

Of an organization, the keys are told about which something is unusual. The database picks those that may be; only of
these, and of no more than `MOST`, all usage is read.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, or_, select

from mushu.environment import Environment
from mushu.server.clock import rfc3339
from mushu.server.db import Base
from mushu.server.environments import MomentParameters, Prepared, Source, prepare
from mushu.server.keys.models import RECORD, ApiKey
from mushu.server.keys.records import KeyRecord
from mushu.server.keys.rotation import list_rotations_among
from mushu.server.keys.states import DEAD, State
from mushu.server.usage.engine import reading_usage, reading_with_usage
from mushu.server.usage.models import HOUR, KeyUse, UsageDenial, UsagePeriod, UsageSource

#: Keys of an organization that are told of, those that were used last first.
MOST: Final = 10
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_HOURS: Final = 24
_DAYS: Final = 30
_MONTHS: Final = 12
#: How long something new is told.
_NEWS: Final = timedelta(days=7)
#: Of requests or denials in 24 hours, fewer are nothing unusual.
_MANY: Final = 100
_TIMES: Final = 10
#: The days that the usual rate is taken from, and of those the fewest that say one.
_USUAL: Final = timedelta(days=28)
_FEWEST: Final = 3
_QUIET: Final = timedelta(days=90)
_ENDED: Final = {State.REVOKED: "deleted_credential", State.EXPIRED: "expired_credential"}


class Bar(NamedTuple):
    """The requests of one hour or one day."""

    start: datetime
    requests: int = 0
    denials: int = 0


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What is told of the usage of one key."""

    use: KeyUse | None
    denials: int
    last_denied_at: datetime | None
    #: The last 24 hours and 30 days, oldest first; those without a request, too.
    hours: Sequence[Bar]
    days: Sequence[Bar]
    #: This month and the 11 before it.
    months: Sequence[Bar]
    #: The last five, the latest first.
    addresses: Sequence[UsageSource]
    reasons: Sequence[UsageDenial]
    #: What is unusual, a sentence each.
    unusual: Sequence[str]


@dataclass(frozen=True, slots=True)
class UnusualKey:
    """A key, and what is unusual about it, a sentence each."""

    key: ApiKey | KeyRecord
    sentences: Sequence[str]


@dataclass(frozen=True, slots=True)
class Known:
    """All rows of the usage of one key."""

    key: ApiKey | KeyRecord
    handed_over_at: datetime | None
    use: KeyUse | None
    #: Oldest first.
    periods: Sequence[UsagePeriod]
    #: The latest first.
    sources: Sequence[UsageSource]
    reasons: Sequence[UsageDenial]

    def between(self, start: datetime, end: datetime) -> Bar:
        some = [period for period in self.periods if start <= period.start < end]
        return Bar(start, sum(period.requests for period in some), sum(period.denials for period in some))


def usage_of(source: Source, now: datetime, key: ApiKey | KeyRecord) -> UsageReport:
    """Return what is known of the usage of a key.

    Raises:
        DatabaseUnavailable: the usage of keys cannot be read.
    """
    ids = {"ids": [key.id]}
    moments = [one.handed_over_at for one in list_rotations_among(source, [key.id]) if one.predecessor_id == key.id]
    with reading_usage(source) as usage:
        uses = _USES.rows(usage, ids)
        rows = [prepared.rows(usage, ids) for prepared in (_PERIODS, _SOURCES, _DENIALS)]
    return _report(Known(key, moments[0] if moments else None, uses[0] if uses else None, *rows), now)


def unusual_keys(source: Source, now: datetime, org_id: str, environment: Environment) -> list[UnusualKey]:
    """Return the keys of which something unusual is to be told, deleted ones included; of `MOST` that may be.

    Raises:
        DatabaseUnavailable: the usage of keys cannot be read.
    """
    given = {"org_id": org_id, "environment": environment.value, **_MOMENT.values(now)}
    with reading_with_usage(source) as both:
        keys: Sequence[KeyRecord] = _MAYBE.rows(both, given)
        ids = {"ids": [key.id for key in keys]}
        uses = {use.key_id: use for use in _USES.rows(both, ids)}
        rows = [prepared.rows(both, ids) for prepared in (_PERIODS, _SOURCES, _DENIALS)]
        handed_over = {one.predecessor_id: one.handed_over_at for one in list_rotations_among(both, ids["ids"])}
    told = []
    for key in keys:
        of_key = [[row for row in some if row.key_id == key.id] for some in rows]
        known = Known(key, handed_over.get(key.id), uses.get(key.id), *of_key)
        told.append(UnusualKey(key, [*unusual(known, now)]))
    return [one for one in told if one.sentences]


def unusual(known: Known, now: datetime) -> Iterator[str]:
    """Yield what is unusual about the usage of a key, a sentence each."""
    yield from _new_networks(known, now)
    yield from _rate(known, now)
    yield from _after_quiet_days(known, now)
    yield from _after_its_end(known, now)
    yield from _denials(known, now)


def _new_networks(known: Known, now: datetime) -> Iterator[str]:
    networks = [source for source in known.sources if "/" in source.source]
    earliest = min((network.first_seen_at for network in networks), default=now)
    for network in networks:
        if network.first_seen_at >= max(earliest + _DAY, now - _NEWS):
            yield f"It was first used from the network {network.source} at {rfc3339(network.first_seen_at)}."


def _rate(known: Known, now: datetime) -> Iterator[str]:
    if known.use is None:
        return
    yesterday = now - _DAY
    start = max(known.use.first_used_at, now - _USUAL)
    days = (yesterday - start) / _DAY
    recent, usual = known.between(yesterday, now).requests, known.between(start - _HOUR, yesterday).requests
    if days >= _FEWEST and recent >= _MANY and recent >= _TIMES * usual / days:
        usually = (
            f"Usually it makes {usual / days:,.1f} in a day; this is {_TIMES} times that or more."
            if usual
            else f"In the {days:.0f} days before, it made none."
        )
        yield f"It made {recent:,} requests in the last 24 hours. {usually}"


def _after_quiet_days(known: Known, now: datetime) -> Iterator[str]:
    used = [period for period in known.periods if period.last_used_at is not None]
    for before, after in pairwise(used):
        quiet = after.start - (before.last_used_at or before.start)
        if quiet >= _QUIET and after.start >= now - _NEWS:
            yield f"It was used at {rfc3339(after.start)} after {quiet.days} quiet days."


def _after_its_end(known: Known, now: datetime) -> Iterator[str]:
    state, use = known.key.state(now), known.use
    news = now - _NEWS
    since = max(known.handed_over_at or now, news)
    if state is State.RETIRING and use is not None and use.last_used_at > since:
        yield (
            f"It is retiring, and was used at {rfc3339(use.last_used_at)} from {use.last_used_from}. "
            "Have its user load the key that took its place."
        )
    for tried in known.reasons:
        if tried.reason == _ENDED.get(state) and tried.last_denied_at >= news:
            times = "once" if tried.denials == 1 else f"{tried.denials:,} times"
            yield (
                f"It is {state}, and is still tried: {times}, last at {rfc3339(tried.last_denied_at)} "
                f"from {tried.last_denied_from}. Have its user load another key."
            )


def _denials(known: Known, now: datetime) -> Iterator[str]:
    recent = known.between(now - _DAY, now)
    if recent.denials >= _MANY and 2 * recent.denials >= recent.requests and known.key.state(now) not in _ENDED:
        reasons = ", ".join(reason.reason for reason in known.reasons[:3])
        yield f"{recent.denials:,} requests were refused to it in the last 24 hours: {reasons or 'reasons unknown'}."


def _report(known: Known, now: datetime) -> UsageReport:
    hour = now.replace(minute=0, second=0, microsecond=0)
    midnight = hour.replace(hour=0)
    hours = [hour - _HOUR * number for number in reversed(range(_HOURS))]
    days = [midnight - _DAY * number for number in reversed(range(_DAYS))]
    ends = [_month(midnight, -1), *(_month(midnight, number) for number in range(_MONTHS))]
    denied = [period.last_denied_at for period in known.periods if period.last_denied_at is not None]
    return UsageReport(
        use=known.use,
        denials=sum(period.denials for period in known.periods),
        last_denied_at=max(denied, default=None),
        hours=[known.between(start, start + _HOUR) for start in hours],
        days=[known.between(start, start + _DAY) for start in days],
        months=[known.between(start, end) for end, start in reversed([*pairwise(ends)])],
        addresses=[source for source in known.sources if "/" not in source.source],
        reasons=known.reasons,
        unusual=[*unusual(known, now)],
    )


def _month(moment: datetime, back: int) -> datetime:
    """Return when the month of a moment began, or one so many months before it."""
    years, month = divmod(moment.year * 12 + moment.month - 1 - back, 12)
    return moment.replace(year=years, month=month + 1, day=1)


def _may_be(at: Callable[[timedelta], Any]) -> ColumnElement[bool]:
    """Return the condition that something may be told; `unusual` then decides.

    Args:
        at: returns what stands for a moment that is so much later than now.
    """
    now, news, yesterday, of_key = at(timedelta()), at(-_NEWS), at(-_DAY), UsagePeriod.key_id == ApiKey.id
    hours = select(func.sum(UsagePeriod.requests + UsagePeriod.denials)).where(of_key, UsagePeriod.seconds == HOUR)
    many = hours.where(UsagePeriod.start >= at(-_DAY - _HOUR)).scalar_subquery() >= _MANY
    network = exists().where(
        UsageSource.key_id == ApiKey.id, UsageSource.source.contains("/"), UsageSource.first_seen_at >= news
    )
    before = exists().where(of_key, UsagePeriod.start >= at(-_NEWS - _QUIET), UsagePeriod.start < news)
    over = or_(ApiKey.stored_state.in_(list(DEAD)), ApiKey.expires_at <= now, ApiKey.retires_at <= now)
    tried = exists().where(UsageDenial.key_id == ApiKey.id, UsageDenial.last_denied_at >= news)
    return or_(
        many,
        and_(network, KeyUse.first_used_at <= yesterday),
        and_(KeyUse.last_used_at >= news, KeyUse.first_used_at <= news, ~before),
        and_(KeyUse.last_used_at >= news, ApiKey.stored_state == State.RETIRING),
        and_(over, tried),
    )


def _of_keys(table: type[Base], *order: ColumnElement[Any]) -> Prepared:
    """Return what reads all rows of some keys in the order that `Known` has them, as plain rows: there may be many."""
    columns = table.__table__.columns
    return prepare(select(*columns).where(columns.key_id.in_(bindparam("ids", expanding=True))).order_by(*order))


_MOMENT: Final = MomentParameters()
_MAYBE: Final = prepare(
    select(*RECORD)
    .outerjoin(KeyUse, KeyUse.key_id == ApiKey.id)
    .where(ApiKey.org_id == bindparam("org_id"), ApiKey.environment == bindparam("environment"), _may_be(_MOMENT.at))
    .order_by(KeyUse.last_used_at.desc().nulls_last(), ApiKey.id)
    .limit(MOST),
    KeyRecord,
)
_USES: Final = _of_keys(KeyUse)
_PERIODS: Final = _of_keys(UsagePeriod, UsagePeriod.start.asc())
_SOURCES: Final = _of_keys(UsageSource, UsageSource.last_seen_at.desc(), UsageSource.source.asc())
_DENIALS: Final = _of_keys(UsageDenial, UsageDenial.denials.desc(), UsageDenial.reason.asc())
