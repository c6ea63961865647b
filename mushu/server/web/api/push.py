"""`/tenants/…/notify` and `/tenants/…/notifications`: sending, and what became of it."""

from http import HTTPStatus
from typing import Annotated, Any

from pydantic import BaseModel, Field

from mushu.server.clock import rfc3339
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.keys import Scope
from mushu.server.resources.devices import USER_ID_LENGTH
from mushu.server.resources.notifications import models, outcomes, service
from mushu.server.resources.notifications.apns import MOST_BYTES, Content, Outcome, payload_of
from mushu.server.resources.notifications.outcomes import explain
from mushu.server.resources.notifications.sender import apns_id
from mushu.server.resources.tenants import TENANT
from mushu.server.web.api.models import Body, IdempotencyHeader, ListWindow, TenantPath, idempotency_of
from mushu.server.web.extensions import dispatcher
from mushu.server.web.guard import current_principal, requires
from mushu.server.web.routes import Resource, Route
from mushu.server.web.thread_slots import thread_slot

_UserId = Annotated[str, Field(min_length=1, max_length=USER_ID_LENGTH)]
_Shown = Annotated[str | None, Field(max_length=MOST_BYTES)]
_LARGEST_BADGE = 2**31 - 1
#: Of a device token, to tell one device from another.
_SHOWN_OF_TOKEN = 8


class MessagePath(TenantPath):
    message_id: str


class NotificationsOf(ListWindow):
    outbox: bool | None = None


class Alert(Body):
    """What is shown: at least a title, a subtitle or a body."""

    title: _Shown = None
    subtitle: _Shown = None
    body: _Shown = None


class _Message(Body):
    alert: Alert | None = None
    badge: int | None = Field(default=None, ge=0, le=_LARGEST_BADGE)
    sound: str | None = Field(default=None, max_length=255)
    data: dict[str, Any] | None = None
    content_available: bool | None = None

    @property
    def payload(self) -> dict[str, Any]:
        alert = self.alert or Alert()
        return payload_of(
            Content(
                title=alert.title,
                subtitle=alert.subtitle,
                body=alert.body,
                badge=self.badge,
                sound=self.sound,
                data=self.data,
                content_available=bool(self.content_available),
            )
        )


class SendNotificationRequest(_Message):
    """A notification to all devices of one user of the app."""

    user_id: _UserId


class SendBulkNotificationRequest(_Message):
    """A notification to all devices of many users; one who is named twice gets it once, and counts once."""

    user_ids: list[_UserId] = Field(min_length=1, max_length=service.MOST_USERS)


class SentNotification(BaseModel):
    """`success`: Apple has it for at least one device, or it is in the outbox; `error` says why not."""

    success: bool
    message_id: str
    error: str | None


class SentBulkNotification(BaseModel):
    """Users, not devices; `success` counts those with at least one device for which Apple has it.

    `results` says it for each user, in the order of `user_ids`.
    """

    total: int
    success: int
    failed: int
    message_id: str
    results: list[SentNotification]


class Notification(BaseModel):
    message_id: str
    tenant_id: str
    environment: str
    outbox: bool
    payload: dict[str, Any]
    created_at: str
    created_by: str
    completed_at: str | None


class NotificationList(BaseModel):
    notifications: list[Notification]
    next_cursor: str | None


class Outcomes(BaseModel):
    """How many devices, or users without one, have each outcome."""

    pending: int
    sent: int
    recorded: int
    failed: int
    no_device: int
    unknown: int


class Sending(BaseModel):
    """What became of it at one device; `token` is cut short, and null where the user has no device."""

    user_id: str
    token: str | None
    outcome: str
    status: int | None
    reason: str | None
    error: str | None
    attempts: int
    apns_id: str | None
    ended_at: str | None


class NotificationDetail(Notification):
    outcomes: Outcomes
    sendings: list[Sending]
    next_cursor: str | None


@requires(Scope.WRITE, org_from=TENANT)
def send_notification(header: IdempotencyHeader, path: TenantPath, body: SendNotificationRequest) -> SentNotification:
    """Send a notification to all devices of one user."""
    sent = _sent(header, path, body, [body.user_id])
    with reading(db.session):
        found = outcomes.tally(db.session, sent)
        error = None if found.reached else outcomes.first_failure(db.session, sent, get_core().clock())
    return SentNotification(success=bool(found.reached), message_id=sent.id, error=error)


@requires(Scope.WRITE, org_from=TENANT)
def send_bulk_notification(
    header: IdempotencyHeader, path: TenantPath, body: SendBulkNotificationRequest
) -> SentBulkNotification:
    """Send a notification to all devices of up to a thousand users."""
    sent = _sent(header, path, body, body.user_ids)
    with reading(db.session):
        found = outcomes.tally(db.session, sent)
        by_user = outcomes.by_user(db.session, sent, get_core().clock())
    reached = [by_user[user_id] for user_id in service.checked_users(body.user_ids)]
    return SentBulkNotification(
        total=found.users,
        success=found.reached,
        failed=found.users - found.reached,
        message_id=sent.id,
        results=[SentNotification(success=arrived, message_id=sent.id, error=error) for arrived, error in reached],
    )


@requires(Scope.READ, org_from=TENANT)
def list_notifications(path: TenantPath, query: NotificationsOf) -> NotificationList:
    """List what was sent, newest first; with `outbox=true` only what a tenant without credentials would have sent."""
    with reading(db.session):
        found = service.list_notifications(db.session, path.tenant_id, query.outbox, query.window)
    return NotificationList(
        notifications=[Notification(**_told(row)) for row in found.rows], next_cursor=found.next_cursor
    )


@requires(Scope.READ, org_from=TENANT)
def show_notification(path: MessagePath, query: ListWindow) -> NotificationDetail:
    """Show a notification and what became of it, device by device."""
    now = get_core().clock()
    with reading(db.session):
        found = service.get_notification(db.session, path.tenant_id, path.message_id)
        counted = outcomes.counts(db.session, found, now)
        sendings, cursor = outcomes.list_sendings(db.session, found, query.window)
    return NotificationDetail(
        **_told(found),
        outcomes=Outcomes(**{outcome.value: count for outcome, count in counted.items()}),
        sendings=[_sending(one, found.id, outcomes.outcome_of(one, found, now)) for one in sendings],
        next_cursor=cursor,
    )


def _sent(header: IdempotencyHeader, path: TenantPath, body: _Message, user_ids: list[str]) -> models.NotificationRow:
    request = service.NotificationRequest(
        tenant_id=path.tenant_id,
        user_ids=service.checked_users(user_ids),
        payload=body.payload,
        actor=current_principal().actor,
        idempotency=idempotency_of(header, body),
    )
    with thread_slot():
        return dispatcher().dispatch(request)


def _told(row: models.NotificationRow) -> dict[str, Any]:
    return {
        "message_id": row.id,
        "tenant_id": row.tenant_id,
        "environment": row.environment,
        "outbox": row.to_outbox,
        "payload": row.payload,
        "created_at": rfc3339(row.created_at),
        "created_by": row.created_by,
        "completed_at": rfc3339(row.completed_at) if row.completed_at else None,
    }


def _sending(row: models.SendingRow, notification_id: str, outcome: Outcome) -> Sending:
    return Sending(
        user_id=row.user_id,
        token=f"{row.token[:_SHOWN_OF_TOKEN]}…" if row.token else None,
        outcome=outcome,
        status=row.status,
        reason=row.reason,
        error=explain(outcome, row.status, row.reason),
        attempts=row.attempts,
        apns_id=apns_id(notification_id, row.id) if row.token else None,
        ended_at=rfc3339(row.ended_at) if row.ended_at else None,
    )


_TENANT = "/tenants/<tenant_id>"
_MANY = f"{_TENANT}/notifications"
_SENDING = (HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE)

RESOURCE = Resource(
    "push",
    [
        Route("POST", f"{_TENANT}/notify", send_notification, SentNotification, _SENDING),
        Route("POST", f"{_TENANT}/notify/bulk", send_bulk_notification, SentBulkNotification, _SENDING),
        Route("GET", _MANY, list_notifications, NotificationList),
        Route("GET", f"{_MANY}/<message_id>", show_notification, NotificationDetail),
    ],
)
