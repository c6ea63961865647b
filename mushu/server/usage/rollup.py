"""Housekeeping of usage: what was left by processes that have ended, and hours that become days."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Engine, delete, select, tuple_

from mushu.batching import BATCH
from mushu.server.db import AnySession, own_session, reading, writing
from mushu.server.usage.models import DAY, DAYS_KEPT, HOUR, HOURS_KEPT, UsagePeriod
from mushu.server.usage.store import UsageStore, upsert, usage_engine

_ROWS = UsagePeriod.__table__
_KEY = tuple_(UsagePeriod.key_id, UsagePeriod.seconds, UsagePeriod.start)


def keep_house_of_usage(engine: Engine, folder: Path, now: datetime) -> None:
    """Add what was left in the folder, make days of hours older than 30 days, and forget days older than 400.

    Args:
        engine: of the database of the keys.
    """
    store = UsageStore(engine)
    store.add_left(folder)
    store.note_first_uses()
    last_midnight = (now - HOURS_KEPT).replace(hour=0, minute=0, second=0, microsecond=0)
    with own_session(usage_engine(engine)) as session:
        while _end(session, (UsagePeriod.seconds == HOUR) & (UsagePeriod.start < last_midnight)):
            pass
        while _end(session, (UsagePeriod.seconds == DAY) & (UsagePeriod.start < now - DAYS_KEPT)):
            pass


def _end(session: AnySession, over: ColumnElement[bool]) -> bool:
    """Take a few periods away, and add those of an hour to their day; tell whether there were any."""
    with reading(session):  # a writer that finds nothing to do would still have waited
        if session.execute(select(UsagePeriod.key_id).where(over).limit(1)).first() is None:
            return False
    with writing(session):
        # Rows that another machine has at this moment are its.
        some = select(_ROWS).where(over).order_by(_ROWS.c.start).limit(BATCH).with_for_update(skip_locked=True)
        found = session.execute(some).mappings().all()
        upsert(session, UsagePeriod, _days(row for row in found if row["seconds"] == HOUR))
        keys = [(row["key_id"], row["seconds"], row["start"]) for row in found]
        session.execute(delete(UsagePeriod).where(_KEY.in_(keys)).execution_options(synchronize_session=False))
    return bool(found)


def _days(hours: Iterable[Mapping[Any, Any]]) -> list[dict[str, Any]]:
    days = [{**hour, "seconds": DAY, "start": hour["start"].replace(hour=0)} for hour in hours]
    return sorted(days, key=lambda day: (day["key_id"], day["start"]))
