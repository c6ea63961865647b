"""The tables of notifications, and of what became of each at each device."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from mushu.server.db import Base, UTCDateTime
from mushu.server.environments import Environmental
from mushu.server.idempotency import Idempotent

#: How long Apple keeps a notification for a device that is switched off.
KEPT_FOR: Final = timedelta(days=7)


class NotificationRow(Environmental, Idempotent, Base):
    """One notification as it was asked for, to one user or to many."""

    __tablename__ = "notifications"
    __table_args__ = (
        Index("ix_notifications_tenant_id_created_at_id", "tenant_id", "created_at", "id"),
        Index("ix_notifications_tenant_id_to_outbox_created_at_id", "tenant_id", "to_outbox", "created_at", "id"),
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
    )

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    #: Whether it went to the outbox, because the tenant had no credentials.
    to_outbox: Mapped[bool]
    #: What Apple gets: `aps`, and what the app adds.
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    created_by: Mapped[str] = mapped_column(String(160))
    #: When every device had its outcome; None while it is being sent, and if the process died.
    completed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


class SendingRow(Environmental, Base):
    """One notification to one device of one user, or to a user who has none."""

    __tablename__ = "sendings"
    __table_args__ = (
        Index("ix_sendings_notification_id_id", "notification_id", "id"),
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    notification_id: Mapped[str] = mapped_column(ForeignKey("notifications.id"))
    user_id: Mapped[str] = mapped_column(String(200))
    #: The device's token; None where the user has no device.
    token: Mapped[str | None] = mapped_column(String(200))
    #: One of `apns.Outcome`.
    outcome: Mapped[str] = mapped_column(String(16))
    #: Of Apple's last answer, as 400.
    status: Mapped[int | None] = mapped_column(Integer)
    #: Apple's word, as BadDeviceToken, or ours for what went wrong on the way (`apns.py`).
    reason: Mapped[str | None] = mapped_column(Text)
    #: How often it was tried.
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    ended_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
