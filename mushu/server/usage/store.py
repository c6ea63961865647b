"""What was counted, added up, and each file of counters once."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, Engine, Executable, bindparam, case, delete, func, or_, select, tuple_, update

from mushu.batching import BATCH, batches, unhurried
from mushu.server.db import AnySession, Base, insert_into, own_session, reading, writing
from mushu.server.environments import Source, prepare
from mushu.server.instance import USAGE_FOLDER
from mushu.server.keys import retirement
from mushu.server.usage.counters import Count, add_left_files
from mushu.server.usage.engine import reading_usage, usage_engine
from mushu.server.usage.models import (
    ADDRESSES,
    DAY,
    DAYS_KEPT,
    HOUR,
    HOURS_KEPT,
    LENGTH,
    NETWORKS,
    NOT_NOTED,
    KeyUse,
    UsageDenial,
    UsageFile,
    UsagePeriod,
    UsageSource,
)

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

_SINCE: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
#: From when on a moment is none: a power cut may leave any number.
_LATEST: Final = (datetime(2200, 1, 1, tzinfo=UTC) - _SINCE) // _MICROSECOND
_HOUR: Final = HOUR * 1_000_000
#: Rows that are added without a rest, in about a millisecond.
_AT_ONCE: Final = 48
#: By the kind of database: made once, and used for each few rows.
_UPSERTS: Final[dict[tuple[str, type[Base]], Executable]] = {}
_ROWS: Final = UsagePeriod.__table__
_USES: Final = prepare(select(*KeyUse.__table__.columns).where(KeyUse.key_id.in_(bindparam("ids", expanding=True))))
_PERIOD: Final = tuple_(UsagePeriod.key_id, UsagePeriod.seconds, UsagePeriod.start)


def uses_of(source: Source, key_ids: Sequence[str]) -> dict[str, Any]:
    """Return what is known, as rows of `KeyUse` by key id; a key that was never used is left out."""
    with reading_usage(source) as usage:
        return {use.key_id: use for use in _USES.rows(usage, {"ids": key_ids})}


class UsageStore:
    """Adds up what was counted.

    Args:
        engine: of the database of the keys.
    """

    def __init__(self, engine: Engine) -> None:
        self._keys = engine
        #: Files that are gone: nobody has to know any more that they were added.
        self._removed: list[str] = []
        #: Something was added since, or a process ended before it could tell.
        self._untold = True

    def add(self, name: str, counts: Sequence[Count]) -> None:
        """Add what a file holds, unless that was done; in one transaction.

        Raises:
            SQLAlchemyError: it may be tried again, and adds nothing twice.
        """
        with own_session(usage_engine(self._keys)) as session, writing(session):
            if self._removed:
                session.execute(delete(UsageFile).where(UsageFile.name.in_(self._removed)))
            if session.get(UsageFile, name) is None:
                session.add(UsageFile(name=name))  # who adds the same at this moment fails, and finds it the next time
                # In one order, or two processes could wait for each other.
                for some in batches(sorted(filter(_is_sound, counts), key=lambda count: count.key_id)):
                    _add_counts(session, some)
        self._removed, self._untold = [], True

    def add_left(self, folder: Path) -> None:
        """Add what processes that have ended left in this folder."""
        self._removed += add_left_files(folder, self.add)

    def forget(self, name: str) -> None:
        """Forget, with the next addition, that a file was added: it is gone."""
        self._removed.append(name)

    def note_first_uses(self) -> None:
        """Tell the rotations that wait for it which keys were used for the first time."""
        usage = usage_engine(self._keys)
        query = select(KeyUse.key_id, KeyUse.first_used_at).where(NOT_NOTED).limit(BATCH)
        while self._untold:
            with own_session(usage) as session, reading(session):
                first = {row.key_id: row.first_used_at for row in session.execute(query)}
            if not first:
                self._untold = False
                return
            with own_session(self._keys) as session:
                with reading(session):
                    waiting = retirement.any_waits_for(session, [*first])
                if waiting:
                    with writing(session):
                        retirement.note_first_uses(session, first)
            with own_session(usage) as session, writing(session):
                noted = update(KeyUse).where(KeyUse.key_id.in_(first)).values(noted=True)
                session.execute(noted.execution_options(synchronize_session=False))


def moment(microseconds: int) -> datetime:
    """Return a moment that was counted in microseconds."""
    return _SINCE + microseconds * _MICROSECOND


def network_of(address: str) -> str | None:
    """Return the network of an address: the first 24 bits of IPv4, 48 of IPv6; None where it is no address."""
    try:
        return str(ip_network(f"{address}/{48 if ':' in address else 24}", strict=False))
    except ValueError:
        return None


def _add_counts(session: AnySession, counts: Sequence[Count]) -> None:
    """Add what was counted to what is known, whatever other processes add."""
    _upsert(session, KeyUse, (_use(count) for count in counts if count.requests))
    _upsert(session, UsagePeriod, map(_period, counts))
    _upsert(session, UsageDenial, chain.from_iterable(map(_denials, counts)))
    _upsert(session, UsageSource, chain.from_iterable(map(_sources, counts)))
    _forget_old_sources(session, [count.key_id for count in counts])


def _upsert(session: AnySession, model: type[Base], rows: Iterable[dict[str, Any]]) -> None:
    """Add rows to those with the same key: numbers grow, a first moment is the earlier, a last one the later.

    Where a request came from belongs to the last moment.
    """
    connection = session.connection()  # a session looks at each statement for what belongs to live or test
    for some in unhurried(batches(rows, size=_AT_ONCE), 1):
        kind = (connection.dialect.name, model)
        if kind not in _UPSERTS:
            _UPSERTS[kind] = _upserting(insert_into(session, model), model, [*some[0]])
        connection.execute(_UPSERTS[kind], some)


def _upserting(statement: "postgresql.Insert | sqlite.Insert", model: type[Base], names: Sequence[str]) -> Executable:
    new, old = statement.excluded, model.__table__.c
    values: dict[str, ColumnElement[Any]] = {}
    for name in names:
        if old[name].primary_key or name == "noted":
            continue
        if name.startswith("first_"):
            values[name] = case((new[name] < old[name], new[name]), else_=old[name])
        elif name.endswith("_from"):
            moment_of = name.removesuffix("_from") + "_at"
            values[name] = case((new[moment_of] >= old[moment_of], new[name]), else_=old[name])
        elif name.startswith("last_"):
            later = or_(old[name].is_(None), new[name] >= old[name])
            values[name] = case((later, func.coalesce(new[name], old[name])), else_=old[name])
        else:
            values[name] = old[name] + new[name]
    return statement.on_conflict_do_update(index_elements=model.__table__.primary_key, set_=values)


def _use(count: Count) -> dict[str, Any]:
    return {
        "key_id": count.key_id,
        "first_used_at": moment(count.first),
        "last_used_at": moment(count.last),
        "last_used_from": count.address,
        "requests": count.requests,
        "noted": False,
    }


def _period(count: Count) -> dict[str, Any]:
    at = count.first or count.last_denied
    return {
        "key_id": count.key_id,
        "seconds": HOUR,
        "start": moment(at - at % _HOUR),
        "requests": count.requests,
        "denials": count.denials,
        "last_used_at": moment(count.last) if count.requests else None,
        "last_denied_at": moment(count.last_denied) if count.denials else None,
    }


def _denials(count: Count) -> list[dict[str, Any]]:
    return [
        {
            "key_id": count.key_id,
            "reason": reason[:LENGTH],
            "denials": times,
            "last_denied_at": moment(count.last_denied),
            "last_denied_from": count.denied_from[:LENGTH],
        }
        for reason, times in sorted(count.reasons.items())
    ]


def _sources(count: Count) -> list[dict[str, Any]]:
    seen = count.addresses or ({count.address: count.last} if count.requests else {})
    latest: dict[str, int] = {}
    for address, at in seen.items():
        for source in (address[:LENGTH], network_of(address)):
            if source:
                latest[source] = max(at, latest.get(source, 0))
    return [
        {"key_id": count.key_id, "source": source, "first_seen_at": moment(at), "last_seen_at": moment(at)}
        for source, at in sorted(latest.items())
    ]


def _forget_old_sources(session: AnySession, key_ids: Sequence[str]) -> None:
    """Keep the last few addresses and networks of each key."""
    is_network = UsageSource.source.contains("/")
    for kind, most in ((~is_network, ADDRESSES), (is_network, NETWORKS)):
        of_kind = select(UsageSource.key_id).where(UsageSource.key_id.in_(key_ids), kind)
        for key_id in session.scalars(of_kind.group_by(UsageSource.key_id).having(func.count() > most)).all():
            mine = select(UsageSource.source).where(UsageSource.key_id == key_id, kind)
            old = session.scalars(mine.order_by(UsageSource.last_seen_at.desc(), UsageSource.source).offset(most)).all()
            session.execute(
                delete(UsageSource)
                .where(UsageSource.key_id == key_id, UsageSource.source.in_(old))
                .execution_options(synchronize_session=False)
            )


def _is_sound(count: Count) -> bool:
    """Tell whether a count can be one: what a power cut leaves need not be."""
    moments = (count.first, count.last) if count.requests else (count.last_denied,)
    return (
        count.key_id.isprintable()
        and count.key_id != ""
        and 0 < count.requests + count.denials < _LATEST
        and all(0 < at < _LATEST for at in moments)
        and (count.denials == 0 or 0 < count.last_denied < _LATEST)
    )


def keep_house_of_usage(engine: Engine, instance: Path, now: datetime) -> None:
    """Add what processes left in the instance folder, make days of old hours, and forget days older than 400.

    Args:
        engine: of the database of the keys.
    """
    store = UsageStore(engine)
    store.add_left(instance / USAGE_FOLDER)
    store.note_first_uses()
    last_midnight = (now - HOURS_KEPT).replace(hour=0, minute=0, second=0, microsecond=0)
    with own_session(usage_engine(engine)) as session:
        while _end_periods(session, (UsagePeriod.seconds == HOUR) & (UsagePeriod.start < last_midnight)):
            pass
        while _end_periods(session, (UsagePeriod.seconds == DAY) & (UsagePeriod.start < now - DAYS_KEPT)):
            pass


def _end_periods(session: AnySession, over: ColumnElement[bool]) -> bool:
    """Take a few periods away, and add those of an hour to their day; tell whether there were any."""
    with reading(session):  # a writer that finds nothing to do would still have waited
        if session.execute(select(UsagePeriod.key_id).where(over).limit(1)).first() is None:
            return False
    with writing(session):
        # Rows that another machine has at this moment are its.
        some = select(_ROWS).where(over).order_by(_ROWS.c.start).limit(BATCH).with_for_update(skip_locked=True)
        found = session.execute(some).mappings().all()
        _upsert(session, UsagePeriod, _days(row for row in found if row["seconds"] == HOUR))
        keys = [(row["key_id"], row["seconds"], row["start"]) for row in found]
        session.execute(delete(UsagePeriod).where(_PERIOD.in_(keys)).execution_options(synchronize_session=False))
    return bool(found)


def _days(hours: Iterable[Mapping[Any, Any]]) -> list[dict[str, Any]]:
    days = [{**hour, "seconds": DAY, "start": hour["start"].replace(hour=0)} for hour in hours]
    return sorted(days, key=lambda day: (day["key_id"], day["start"]))
