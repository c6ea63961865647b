"""The outbox as a person reads it: what the apps of some organizations would have sent, the newest first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select

from mushu.server.db import AnySession
from mushu.server.environments import within
from mushu.server.keys.scopes import Environment
from mushu.server.resources.notifications.apple import Outcome
from mushu.server.resources.notifications.models import Notification, Sending
from mushu.server.resources.tenants.models import Tenant

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
        select(Notification, Tenant.bundle_id)
        .join(Tenant, Tenant.id == Notification.tenant_id)
        .where(Tenant.org_id.in_(org_ids), Notification.to_outbox.is_(True))
        .order_by(Notification.created_at.desc(), Notification.id.desc())
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
    query = select(Sending.user_id).where(Sending.notification_id == notification_id).distinct()
    return session.scalars(query.order_by(Sending.user_id).limit(_FEW)).all()


def _devices(session: AnySession, notification_id: str) -> int:
    recorded = select(func.count()).select_from(Sending).where(Sending.notification_id == notification_id)
    return session.scalar(recorded.where(Sending.outcome == Outcome.RECORDED)) or 0
