"""What became of a notification, as it is told: from the rows alone, so that it can be told again."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from mushu.server.db import AnySession
from mushu.server.errors import Invalid
from mushu.server.paging import Window
from mushu.server.resources.notifications.apple import SUCCESSES, Outcome
from mushu.server.resources.notifications.models import Notification, Sending
from mushu.server.resources.notifications.reasons import explain

#: Sending ends by itself long before; what has no outcome then had a process that died.
GIVEN_UP_AFTER: Final = timedelta(minutes=5)
_CURSOR: Final = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Tally:
    """To how many users it was sent, and how many of them have it."""

    users: int
    reached: int


def is_under_way(notification: Notification, now: datetime) -> bool:
    """Tell whether some process may still be sending it."""
    return notification.completed_at is None and now - notification.created_at <= GIVEN_UP_AFTER


def outcome_of(sending: Sending, notification: Notification, now: datetime) -> Outcome:
    """Return the outcome; one that nobody will write down any more is unknown."""
    stored = Outcome(sending.outcome)
    if stored is Outcome.PENDING and not is_under_way(notification, now):
        return Outcome.UNKNOWN
    return stored


def tally(session: AnySession, notification: Notification) -> Tally:
    mine = select(func.count(Sending.user_id.distinct())).where(Sending.notification_id == notification.id)
    users = session.scalar(mine) or 0
    return Tally(users, session.scalar(mine.where(Sending.outcome.in_(SUCCESSES))) or 0)


def counts(session: AnySession, notification: Notification, now: datetime) -> dict[Outcome, int]:
    """Return how many devices, or users without one, have each outcome."""
    query = select(Sending.outcome, func.count()).where(Sending.notification_id == notification.id)
    stored = {Outcome(outcome): count for outcome, count in session.execute(query.group_by(Sending.outcome))}
    found = dict.fromkeys(Outcome, 0) | stored
    if not is_under_way(notification, now):
        found[Outcome.UNKNOWN] += found[Outcome.PENDING]
        found[Outcome.PENDING] = 0
    return found


def first_failure(session: AnySession, notification: Notification, now: datetime) -> str | None:
    """Return why the first device does not have it, in a sentence; None where all have."""
    query = select(Sending).where(Sending.notification_id == notification.id, Sending.outcome.not_in(SUCCESSES))
    sending = session.scalars(query.order_by(Sending.id).limit(1)).one_or_none()
    if sending is None:
        return None
    return explain(outcome_of(sending, notification, now), sending.status, sending.reason)


def by_user(session: AnySession, notification: Notification, now: datetime) -> dict[str, tuple[bool, str | None]]:
    """Return for each user whether the notification arrived, and if not, why not."""
    mine = Sending.notification_id == notification.id
    reached = set(session.scalars(select(Sending.user_id).where(mine, Sending.outcome.in_(SUCCESSES)).distinct()))
    firsts = select(func.min(Sending.id)).where(mine).group_by(Sending.user_id)
    told: dict[str, tuple[bool, str | None]] = {}
    for sending in session.scalars(select(Sending).where(Sending.id.in_(firsts)).order_by(Sending.id)):
        outcome = outcome_of(sending, notification, now)
        arrived = sending.user_id in reached
        told[sending.user_id] = (arrived, None if arrived else explain(outcome, sending.status, sending.reason))
    return told


def list_sendings(
    session: AnySession, notification: Notification, window: Window
) -> tuple[Sequence[Sending], str | None]:
    """Return a page of what was sent to whom, in the order in which it was, and where the next page begins.

    Raises:
        Invalid: the cursor is not one of ours.
    """
    query = select(Sending).where(Sending.notification_id == notification.id)
    if window.cursor:
        if not _CURSOR.fullmatch(window.cursor):
            raise Invalid("Go on with the next_cursor of the page before, unchanged.", field="cursor")
        query = query.where(Sending.id > int(window.cursor))
    rows = session.scalars(query.order_by(Sending.id).limit(window.limit + 1)).all()
    if len(rows) <= window.limit:
        return rows, None
    return rows[: window.limit], str(rows[window.limit - 1].id)
