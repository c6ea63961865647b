"""The table of tenants."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from mushu.server.db import Base, UTCDateTime
from mushu.server.environments import Environmental
from mushu.server.idempotency import Idempotent
from mushu.server.sealing.rows import SEALED


class TenantRow(Environmental, Idempotent, Base):
    """One app of an organization. A deleted one stays as a row for the audit trail, without its credentials."""

    __tablename__ = "tenants"
    __table_args__ = (
        Index("ix_tenants_org_id_environment_created_at_id", "org_id", "environment", "created_at", "id"),
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
    )

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"))
    #: Apple's name for the app, as com.example.shop: the topic of its notifications.
    bundle_id: Mapped[str] = mapped_column(String(155))
    #: Apple's names for the team and for the key; both, with the key, or neither.
    team_id: Mapped[str | None] = mapped_column(String(10))
    apns_key_id: Mapped[str | None] = mapped_column(String(10))
    #: The private key in PEM, sealed.
    sealed_private_key: Mapped[str | None] = mapped_column(Text, info=dict(SEALED))
    #: Whether notifications go to Apple's sandbox; always so in test.
    use_sandbox: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    created_by: Mapped[str] = mapped_column(String(160))
    deleted_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    @property
    def has_credentials(self) -> bool:
        return self.sealed_private_key is not None
