"""What housekeeping does for notifications: it deletes those that were kept long enough, with their outcomes.

One notification may have a hundred thousand outcomes, and SQLite has one writer at a time. So a few hundred rows go
with each transaction, and some thousands with each round; what is left waits for the next. Whether there is anything to
do is looked up without a writer's lock.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select

from mushu.environment import Environment
from mushu.server import paging
from mushu.server.clock import Clock
from mushu.server.config import Settings
from mushu.server.db import AnySession
from mushu.server.environments import within
from mushu.server.paging import delete_in_rounds
from mushu.server.resources.notifications.models import NotificationRow, SendingRow
from mushu.server.resources.notifications.outcomes import GIVEN_UP_AFTER
from mushu.server.resources.tenants import TenantRow

_LOG: Final = logging.getLogger(__name__)


def clean_notifications(session: AnySession, clock: Clock, settings: Settings) -> None:
    """Delete notifications that were kept as long as the settings say, and log how many; owns its transactions."""
    if settings.keep_notifications is None:  # they are kept without an end
        return
    deleted = delete_older(session, clock, settings.keep_notifications)
    if deleted:
        _LOG.info("notifications deleted", extra={"deleted": deleted})


def delete_older(session: AnySession, clock: Clock, keep: timedelta) -> int:
    """Delete what was asked for longer ago than `keep`, in both environments, and return how many; owns transactions.

    What may still be being sent stays.
    """
    deleted = 0
    for environment in Environment:
        with within(session, environment):
            deleted += _clean(session, clock() - keep, clock() - GIVEN_UP_AFTER)
    return deleted


def _clean(session: AnySession, last: datetime, given_up: datetime) -> int:
    """Do a round for what was asked for at `last` or before, and has settled or was given up before `given_up`."""
    return delete_in_rounds(
        session, lambda most: _due(session, last, given_up, most), lambda due: _delete(session, due)
    )


def _due(session: AnySession, last: datetime, given_up: datetime, most: int) -> Sequence[str]:
    """Return the ids of some that are to go, tenant by tenant, for that is how the index leads to the oldest."""
    oldest = (
        select(func.min(NotificationRow.created_at)).where(NotificationRow.tenant_id == TenantRow.id).scalar_subquery()
    )
    tenants = session.scalars(select(TenantRow.id).where(oldest <= last).limit(most)).all()
    found: list[str] = []
    for tenant_id in tenants:
        mine = select(NotificationRow.id).where(NotificationRow.tenant_id == tenant_id, _may_go(last, given_up))
        found += session.scalars(mine.order_by(NotificationRow.created_at, NotificationRow.id).limit(most - len(found)))
        if len(found) == most:
            break
    return found


def _may_go(last: datetime, given_up: datetime) -> ColumnElement[bool]:
    settled = or_(NotificationRow.completed_at.is_not(None), NotificationRow.created_at < given_up)
    return and_(NotificationRow.created_at <= last, settled)


def _delete(session: AnySession, notification_ids: Sequence[str]) -> int:
    """Delete some outcomes of these notifications, and those that have none left; return how many those were.

    The outcomes go one notification after the other: one at most loses a part of its.
    """
    theirs = select(SendingRow.id).where(SendingRow.notification_id.in_(notification_ids))
    some = session.scalars(
        theirs.order_by(SendingRow.notification_id, SendingRow.id).limit(paging.DELETED_AT_ONCE)
    ).all()
    outcomes = delete(SendingRow).where(SendingRow.id.in_(some))
    session.execute(outcomes.execution_options(synchronize_session=False))
    left = exists().where(SendingRow.notification_id == NotificationRow.id)
    bare = delete(NotificationRow).where(NotificationRow.id.in_(notification_ids), ~left)
    deleted = session.execute(bare.execution_options(synchronize_session=False))
    return deleted.rowcount  # type: ignore[attr-defined,no-any-return]
