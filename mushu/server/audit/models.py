"""The row of one event in the audit trail."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from mushu.server.db import Base, UTCDateTime


class AuditEvent(Base):
    """One change of state. Rows outlive what they speak of, so they refer by id and without foreign keys."""

    __tablename__ = "audit_events"
    __table_args__ = (Index("ix_audit_events_org_id_id", "org_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UTCDateTime)
    #: `user`, `api_key`, `operator` (someone with a shell on the server) or `system`.
    actor_kind: Mapped[str] = mapped_column(String(16))
    actor_id: Mapped[str] = mapped_column(String(128))
    #: What was done, as `key.deleted`.
    action: Mapped[str] = mapped_column(String(64))
    org_id: Mapped[str | None] = mapped_column(String(24))
    #: The public id of what it was done to.
    target_id: Mapped[str] = mapped_column(String(64))
    details: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
