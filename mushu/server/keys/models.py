from datetime import datetime
from typing import Final

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from mushu.server.db import Base, UTCDateTime
from mushu.server.keys.scopes import Environment, Scope
from mushu.server.keys.states import State

# Literal text: SQLite uses a partial index only where a query repeats its condition word for word, no parameters.
IS_PENDING: Final = text("state = 'pending'")


class ApiKey(Base):
    """One API key: everything about it but the key. Rows are never deleted; a deleted key is `revoked`."""

    __tablename__ = "api_keys"
    __table_args__ = (
        Index("ix_api_keys_org_id_environment_created_at_id", "org_id", "environment", "created_at", "id"),
        Index("ix_api_keys_pending", "created_at", "id", sqlite_where=IS_PENDING, postgresql_where=IS_PENDING),
        CheckConstraint("environment IN ('live', 'test')", name="environment"),
    )

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"))
    name: Mapped[str] = mapped_column(String(200))
    #: SHA-256 of the key in hexadecimal; the one index the hot path needs.
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    #: What a person may see of the key: its last four characters.
    last_four: Mapped[str] = mapped_column(String(4))
    #: Comma-separated, in the order read, write, admin.
    scope_names: Mapped[str] = mapped_column("scopes", String(32))
    environment: Mapped[str] = mapped_column(String(8))
    stored_state: Mapped[str] = mapped_column("state", String(16))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: For a key that a client delivers: until when it has to prove that it did.
    confirm_by: Mapped[datetime | None] = mapped_column(UTCDateTime)
    activated_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    @property
    def scopes(self) -> tuple[Scope, ...]:
        return tuple(Scope(name) for name in self.scope_names.split(","))

    @property
    def hint(self) -> str:
        """The key as people see it: prefix and last four characters."""
        return f"msk_{Environment(self.environment)}_…{self.last_four}"

    def state(self, now: datetime) -> State:
        """Return the state at `now`; `expired` where the time of a living key is over."""
        stored = State(self.stored_state)
        living = stored in (State.ACTIVE, State.DISABLED, State.RETIRING)
        return State.EXPIRED if living and self.expires_at is not None and self.expires_at <= now else stored
