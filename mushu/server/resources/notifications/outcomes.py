"""What became of a notification, as it is told: in numbers, in sentences that say what to do, and as the outbox.

All of it is read from the rows, so that it can be told again.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from sqlalchemy import func, select

from mushu.environment import Environment
from mushu.server.db import AnySession
from mushu.server.environments import within
from mushu.server.errors import Invalid
from mushu.server.paging import Window
from mushu.server.resources.notifications.apns import (
    CONNECTION_LOST,
    NOT_TRIED,
    SUCCESSES,
    TIMEOUT,
    UNREACHABLE,
    Outcome,
)
from mushu.server.resources.notifications.models import NotificationRow, SendingRow
from mushu.server.resources.tenants import TenantRow

#: Sending ends by itself long before; what has no outcome then had a process that died.
GIVEN_UP_AFTER: Final = timedelta(minutes=5)
_CURSOR: Final = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Tally:
    """To how many users it was sent, and how many of them have it."""

    users: int
    reached: int


def is_under_way(notification: NotificationRow, now: datetime) -> bool:
    """Tell whether some process may still be sending it."""
    return notification.completed_at is None and now - notification.created_at <= GIVEN_UP_AFTER


def outcome_of(sending: SendingRow, notification: NotificationRow, now: datetime) -> Outcome:
    """Return the outcome; one that nobody will write down any more is unknown."""
    stored = Outcome(sending.outcome)
    if stored is Outcome.PENDING and not is_under_way(notification, now):
        return Outcome.UNKNOWN
    return stored


def tally(session: AnySession, notification: NotificationRow) -> Tally:
    mine = select(func.count(SendingRow.user_id.distinct())).where(SendingRow.notification_id == notification.id)
    users = session.scalar(mine) or 0
    return Tally(users, session.scalar(mine.where(SendingRow.outcome.in_(SUCCESSES))) or 0)


def counts(session: AnySession, notification: NotificationRow, now: datetime) -> dict[Outcome, int]:
    """Return how many devices, or users without one, have each outcome."""
    query = select(SendingRow.outcome, func.count()).where(SendingRow.notification_id == notification.id)
    stored = {Outcome(outcome): count for outcome, count in session.execute(query.group_by(SendingRow.outcome))}
    found = dict.fromkeys(Outcome, 0) | stored
    if not is_under_way(notification, now):
        found[Outcome.UNKNOWN] += found[Outcome.PENDING]
        found[Outcome.PENDING] = 0
    return found


def first_failure(session: AnySession, notification: NotificationRow, now: datetime) -> str | None:
    """Return why the first device does not have it, in a sentence; None where all have."""
    query = select(SendingRow).where(
        SendingRow.notification_id == notification.id, SendingRow.outcome.not_in(SUCCESSES)
    )
    sending = session.scalars(query.order_by(SendingRow.id).limit(1)).one_or_none()
    if sending is None:
        return None
    return explain(outcome_of(sending, notification, now), sending.status, sending.reason)


def by_user(session: AnySession, notification: NotificationRow, now: datetime) -> dict[str, tuple[bool, str | None]]:
    """Return for each user whether the notification arrived, and if not, why not."""
    mine = SendingRow.notification_id == notification.id
    reached = set(session.scalars(select(SendingRow.user_id).where(mine, SendingRow.outcome.in_(SUCCESSES)).distinct()))
    firsts = select(func.min(SendingRow.id)).where(mine).group_by(SendingRow.user_id)
    told: dict[str, tuple[bool, str | None]] = {}
    for sending in session.scalars(select(SendingRow).where(SendingRow.id.in_(firsts)).order_by(SendingRow.id)):
        outcome = outcome_of(sending, notification, now)
        arrived = sending.user_id in reached
        told[sending.user_id] = (arrived, None if arrived else explain(outcome, sending.status, sending.reason))
    return told


def list_sendings(
    session: AnySession, notification: NotificationRow, window: Window
) -> tuple[Sequence[SendingRow], str | None]:
    """Return a page of what was sent, device by device in that order, and where the next page begins.

    Raises:
        Invalid: the cursor is not one of ours.
    """
    query = select(SendingRow).where(SendingRow.notification_id == notification.id)
    if window.cursor:
        if not _CURSOR.fullmatch(window.cursor):
            raise Invalid("Go on with the next_cursor of the page before, unchanged.", field="cursor")
        query = query.where(SendingRow.id > int(window.cursor))
    rows = session.scalars(query.order_by(SendingRow.id).limit(window.limit + 1)).all()
    if len(rows) <= window.limit:
        return rows, None
    return rows[: window.limit], str(rows[window.limit - 1].id)


_SENTENCES: Final = {
    TIMEOUT: "Apple did not answer in time",
    UNREACHABLE: "Apple could not be reached: see whether this server may connect to the push service on port 443",
    CONNECTION_LOST: "The connection to Apple broke",
    NOT_TRIED: "Time was up before it was this device's turn: send again, to fewer users at once",
}
_SENTENCES_FOR_APPLE: Final = {
    "BadDeviceToken": (
        "The token is none of Apple's, or belongs to its other host (sandbox, production); the device was removed"
    ),
    "Unregistered": "The app is no longer on the device, which was removed unless it registered again since",
    "ExpiredToken": "The token of the device has expired; it was removed unless it registered again since",
    "DeviceTokenNotForTopic": "The device's token belongs to another app: compare the tenant's bundle_id",
    "TopicDisallowed": "The credentials may not send for this bundle_id: compare it with the team's apps",
    "BadTopic": "Apple does not know the tenant's bundle_id",
    "MissingTopic": "Apple wants a bundle_id that the tenant has not",
    "InvalidProviderToken": (
        "Apple does not accept the tenant's credentials: compare team_id, key_id and private_key, and whether the key "
        "was revoked"
    ),
    "ExpiredProviderToken": "Apple finds the signature too old: see whether the clock of this server is right",
    "BadEnvironmentKeyInToken": "The key is for Apple's other host: compare use_sandbox with what the key was made for",
    "BadEnvironmentKeyIdInToken": (
        "The key is for Apple's other host: compare use_sandbox with what the key was made for"
    ),
    "UnrelatedKeyIdInToken": "The key belongs to other apps than this one: compare key_id with bundle_id",
    "TooManyProviderTokenUpdates": "Apple saw too many signatures: do not share the key with another server",
    "TooManyRequests": "Too many notifications to this device in a short time: send less often",
    "PayloadTooLarge": "The payload is larger than Apple takes",
    "InternalServerError": "Apple failed: send again later",
    "ServiceUnavailable": "Apple is not available: send again later",
    "Shutdown": "Apple's server is being shut down: send again later",
}


def explain(outcome: Outcome, status: int | None, reason: str | None) -> str | None:
    """Return the sentence for a person, or None where there is nothing to explain."""
    match outcome:
        case Outcome.SENT | Outcome.RECORDED:
            return None
        case Outcome.NO_DEVICE:
            return "This user has no device: register one first."
        case Outcome.PENDING:
            return "It is being sent at this moment."
        case Outcome.UNKNOWN if reason is None:
            return "It is not known whether this arrived: the server stopped while it was sending."
        case Outcome.UNKNOWN:
            return f"{_because(status, reason)}; it is not known whether this arrived."
        case _:
            return f"{_because(status, reason)}."


def _because(status: int | None, reason: str | None) -> str:
    if reason in _SENTENCES:
        return _SENTENCES[reason]
    said = " ".join(str(part) for part in (status, reason) if part is not None)
    refused = status is not None and status < HTTPStatus.INTERNAL_SERVER_ERROR
    sentence = _SENTENCES_FOR_APPLE.get(
        reason or "", "Apple refused it" if refused else "Apple failed: send again later"
    )
    return f"{sentence} ({said})" if said else sentence


_FEW: Final = 3


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One notification that was recorded, not sent."""

    message_id: str
    bundle_id: str
    environment: str
    created_at: datetime
    payload: Mapping[str, Any]
    #: The first users it was for, and how many devices it would have reached.
    users: Sequence[str]
    devices: int

    @property
    def alert(self) -> Mapping[str, Any]:
        alert = self.payload.get("aps", {}).get("alert", {})
        return alert if isinstance(alert, Mapping) else {"body": alert}


def newest_in_outbox(session: AnySession, org_ids: Sequence[str], limit: int) -> list[OutboxEntry]:
    """Return the newest entries of these organizations, of live and of test."""
    found: list[OutboxEntry] = []
    for environment in Environment:
        with within(session, environment):
            found += _newest(session, org_ids, limit)
    return sorted(found, key=lambda entry: (entry.created_at, entry.message_id), reverse=True)[:limit]


def _newest(session: AnySession, org_ids: Sequence[str], limit: int) -> list[OutboxEntry]:
    query = (
        select(NotificationRow, TenantRow.bundle_id)
        .join(TenantRow, TenantRow.id == NotificationRow.tenant_id)
        .where(TenantRow.org_id.in_(org_ids), NotificationRow.to_outbox.is_(True))
        .order_by(NotificationRow.created_at.desc(), NotificationRow.id.desc())
    )
    return [
        OutboxEntry(
            message_id=notification.id,
            bundle_id=bundle_id,
            environment=notification.environment,
            created_at=notification.created_at,
            payload=notification.payload,
            users=_users(session, notification.id),
            devices=_devices(session, notification.id),
        )
        for notification, bundle_id in session.execute(query.limit(limit)).all()
    ]


def _users(session: AnySession, notification_id: str) -> Sequence[str]:
    query = select(SendingRow.user_id).where(SendingRow.notification_id == notification_id).distinct()
    return session.scalars(query.order_by(SendingRow.user_id).limit(_FEW)).all()


def _devices(session: AnySession, notification_id: str) -> int:
    recorded = select(func.count()).select_from(SendingRow).where(SendingRow.notification_id == notification_id)
    return session.scalar(recorded.where(SendingRow.outcome == Outcome.RECORDED)) or 0
