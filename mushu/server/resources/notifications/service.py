"""Rows of notifications: written before anything is sent, settled afterwards, found and listed. Never commits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select

from mushu.keyformat import public_id
from mushu.server.audit import Actor
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.errors import Invalid, NotificationNotFound
from mushu.server.idempotency import IdempotencyMark
from mushu.server.paging import Page, Window, page
from mushu.server.resources.devices import USER_ID_LENGTH, devices_of, forget_dead
from mushu.server.resources.notifications.apns import Outcome
from mushu.server.resources.notifications.models import NotificationRow, SendingRow
from mushu.server.resources.notifications.sender import PushResult
from mushu.server.resources.tenants import TenantRow
from mushu.terminal import is_readable

#: Users of one request.
MOST_USERS: Final = 1_000
#: Users whose devices are looked up at once: each may have a hundred.
_USERS_AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationRequest:
    """What to send, and to which users; the environment is that of the session."""

    tenant_id: str
    user_ids: Sequence[str]
    payload: Mapping[str, Any]
    actor: Actor
    idempotency: IdempotencyMark | None = None


def checked_users(user_ids: Sequence[str]) -> list[str]:
    """Return the users, each once, in their order.

    Raises:
        Invalid: one of them is no name of a user, or there are none, or too many.
    """
    users = list(dict.fromkeys(user_ids))
    if not 0 < len(users) <= MOST_USERS:
        raise Invalid(f"Name 1 to {MOST_USERS} users.", field="user_ids")
    for user in users:
        if not 0 < len(user) <= USER_ID_LENGTH or not is_readable(user) or user != user.strip():
            raise Invalid(f"A user_id has 1 to {USER_ID_LENGTH} characters, none of them invisible.", field="user_id")
    return users


def record_notification(
    session: AnySession, clock: Clock, tenant: TenantRow, request: NotificationRequest
) -> NotificationRow:
    """Write down what is to be sent to which device, before anything is; without credentials, that is all there is."""
    now = clock()
    notification = NotificationRow(
        id=public_id("msg"),
        tenant_id=tenant.id,
        to_outbox=not tenant.has_credentials,
        payload=dict(request.payload),
        created_at=now,
        created_by=str(request.actor),
    )
    notification.mark(request.idempotency)
    session.add(notification)
    session.flush()
    waiting = False
    for sendings in _sendings(session, notification, request.user_ids):
        waiting = waiting or any(sending.outcome == Outcome.PENDING for sending in sendings)
        session.add_all(sendings)
        session.flush()
        for sending in sendings:
            session.expunge(sending)
    notification.completed_at = None if waiting else now
    return notification


def waiting_after(session: AnySession, notification: NotificationRow, after: int, limit: int) -> Sequence[SendingRow]:
    """Return sendings that have no outcome yet, in the order of their ids, which are larger than `after`."""
    mine = select(SendingRow).where(SendingRow.notification_id == notification.id, SendingRow.id > after)
    return session.scalars(mine.where(SendingRow.outcome == Outcome.PENDING).order_by(SendingRow.id).limit(limit)).all()


def note_results(
    session: AnySession, clock: Clock, notification: NotificationRow, results: Sequence[PushResult]
) -> None:
    """Write down what became of some sendings, and forget the devices that Apple calls dead."""
    now = clock()
    by_id = {result.recipient.sending_id: result for result in results}
    for sending in session.scalars(select(SendingRow).where(SendingRow.id.in_(by_id))):
        result = by_id[sending.id]
        sending.outcome, sending.attempts, sending.ended_at = result.outcome, result.attempts, now
        sending.status, sending.reason = result.status, result.reason
    dead: dict[datetime, list[str]] = {}
    for result in results:
        if result.forget:
            since = min(result.dead_since or notification.created_at, now)
            dead.setdefault(since, []).append(result.recipient.token)
    for since, tokens in dead.items():
        forget_dead(session, notification.tenant_id, tokens, since=since)


def complete(session: AnySession, clock: Clock, notification: NotificationRow) -> None:
    """Say that every device has its outcome."""
    get_notification(session, notification.tenant_id, notification.id).completed_at = clock()


def get_notification(session: AnySession, tenant_id: str, notification_id: str) -> NotificationRow:
    """Return a notification of the tenant.

    Raises:
        NotificationNotFound: there is none of this id.
    """
    query = select(NotificationRow).where(NotificationRow.id == notification_id, NotificationRow.tenant_id == tenant_id)
    found = session.scalars(query).one_or_none()
    if found is None:
        raise NotificationNotFound("This tenant has no notification of this id.")
    return found


def list_notifications(
    session: AnySession, tenant_id: str, outbox: bool | None, window: Window
) -> Page[NotificationRow]:
    """Return a page of the tenant's notifications, newest first.

    Args:
        outbox: only those in the outbox, or only those that are not; None for all.
    """
    query = select(NotificationRow).where(NotificationRow.tenant_id == tenant_id)
    if outbox is not None:
        query = query.where(NotificationRow.to_outbox.is_(outbox))
    return page(session, query, NotificationRow.created_at, NotificationRow.id, window)


def _sendings(
    session: AnySession, notification: NotificationRow, user_ids: Sequence[str]
) -> Iterator[list[SendingRow]]:
    """Yield the rows of some users at a time: all of a thousand's might be a hundred thousand."""
    now = notification.created_at
    outcome, ended_at = (Outcome.RECORDED, now) if notification.to_outbox else (Outcome.PENDING, None)
    for start in range(0, len(user_ids), _USERS_AT_ONCE):
        some = user_ids[start : start + _USERS_AT_ONCE]
        devices = devices_of(session, notification.tenant_id, some)
        yield [
            SendingRow(
                notification_id=notification.id, user_id=user_id, token=device.token, outcome=outcome, ended_at=ended_at
            )
            for user_id in some
            for device in devices.get(user_id, ())
        ] + [
            SendingRow(notification_id=notification.id, user_id=user_id, outcome=Outcome.NO_DEVICE, ended_at=now)
            for user_id in some
            if user_id not in devices
        ]
