from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from mushu.server.db import Base, UTCDateTime
from mushu.server.environments import Environmental


class Device(Environmental, Base):
    """One device of one user of a tenant's app. The row is deleted with its registration."""

    __tablename__ = "devices"
    __table_args__ = (
        Index("uq_devices_tenant_id_token", "tenant_id", "token", unique=True),
        Index("ix_devices_tenant_id_user_id_created_at_id", "tenant_id", "user_id", "created_at", "id"),
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
    )

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    #: Whatever the app calls its user; not one of ours.
    user_id: Mapped[str] = mapped_column(String(200))
    #: Apple's token for this app on this device.
    token: Mapped[str] = mapped_column(String(200))
    platform: Mapped[str] = mapped_column(String(16))
    app_version: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    #: When it was last registered; a notice from Apple that the token is dead counts only if it is younger.
    registered_at: Mapped[datetime] = mapped_column(UTCDateTime)
