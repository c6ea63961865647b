"""Rows of API keys, and of how one makes way for another."""

from datetime import datetime
from typing import Final

from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index, Integer, String, Text, literal_column, text
from sqlalchemy.orm import Mapped, mapped_column

from mushu.server.db import Base, UTCDateTime
from mushu.server.idempotency import Idempotent
from mushu.server.keys.records import ToldKey, deadline_of
from mushu.server.paging import Folded

# Literal text: SQLite uses a partial index only where a query repeats its condition word for word, no parameters.
IS_PENDING: Final = text("state = 'pending'")
IS_TO_ROTATE: Final = text("rotate_at IS NOT NULL")
IS_TO_RETIRE: Final = text("state = 'retiring' AND retires_at IS NOT NULL")
IS_OPEN: Final = text("settled_at IS NULL")
#: True of each key: so that only what is read in the order of names takes that index, and not what filters keys.
IS_NAMED: Final[ColumnElement[bool]] = literal_column("name >= ''")


class ApiKey(ToldKey, Idempotent, Base):
    """One API key: everything about it but the key. Rows are never deleted; a deleted key is `revoked`."""

    __tablename__ = "api_keys"
    __table_args__ = (
        Index("ix_api_keys_org_id_environment_created_at_id", "org_id", "environment", "created_at", "id"),
        Index("ix_api_keys_pending", "created_at", "id", sqlite_where=IS_PENDING),
        Index("ix_api_keys_rotate_at", "rotate_at", sqlite_where=IS_TO_ROTATE),
        Index("ix_api_keys_retires_at", "retires_at", sqlite_where=IS_TO_RETIRE),
        Index("uq_api_keys_request_key", "request_key", unique=True),
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
    created_by: Mapped[str | None] = mapped_column(String(24))  # the user who did, or who rotated the key before it
    expires_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: For a key that a client delivers: until when it has to prove that it did.
    confirm_by: Mapped[datetime | None] = mapped_column(UTCDateTime)
    activated_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: Seconds after which the key is due to be rotated, counted from when it became active; None: never.
    rotate_every: Mapped[int | None] = mapped_column(Integer)
    #: The moment it is due; None for a key that is never, that is not active yet, or that has a successor.
    rotate_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: From when on a retiring key opens nothing; None until its successor was seen in use.
    retires_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: How often it may be used, as `10/second;1000/day` (`rate_limits`); None: as often as it likes.
    limits: Mapped[str | None] = mapped_column(String(120))
    #: From where it may be used, as networks that are separated by commas; None: from everywhere.
    networks: Mapped[str | None] = mapped_column(Text)
    #: As in `Idempotent`, with an index in place of the constraint (`minting.py` says when it does not count any more).
    request_key: Mapped[str | None] = mapped_column(String(64))


Index("ix_api_keys_by_name", ApiKey.org_id, ApiKey.environment, Folded(ApiKey.name), ApiKey.id, sqlite_where=IS_NAMED)


#: The columns of a `KeyRecord`, in its order.
RECORD: Final = (
    *(ApiKey.id, ApiKey.name, ApiKey.last_four, ApiKey.scope_names, ApiKey.environment, ApiKey.stored_state),
    *(ApiKey.created_at, ApiKey.created_by, ApiKey.expires_at, ApiKey.activated_at, ApiKey.revoked_at),
    ApiKey.retires_at,
)


class Rotation(Base):
    """How one key makes way for another. Rows are never deleted; one is begun for each successor that is minted."""

    __tablename__ = "rotations"
    __table_args__ = (
        Index("ix_rotations_open", "predecessor_id", sqlite_where=IS_OPEN),
        Index("ix_rotations_predecessor_id", "predecessor_id"),
        CheckConstraint("at_deadline IN ('keep', 'revoke')", name="at_deadline"),
    )

    successor_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"), primary_key=True)
    predecessor_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    #: How long the old key lives on after the new one was first used.
    settle_seconds: Mapped[int] = mapped_column(Integer)
    #: How long the first use is waited for.
    deadline_seconds: Mapped[int] = mapped_column(Integer)
    at_deadline: Mapped[str] = mapped_column(String(8))
    #: The old key ends in the moment in which the new one begins.
    at_once: Mapped[bool] = mapped_column(default=False)
    started_at: Mapped[datetime] = mapped_column(UTCDateTime)
    #: When the new key became active and the old one retiring.
    handed_over_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: When the new key was first seen in use.
    first_used_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: When nothing was left to do: the old key is over, or the attempt failed and the old key is where it was.
    settled_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    @property
    def deadline_at(self) -> datetime | None:
        """The moment until which the new key should have been used; None as long as it is not active."""
        return deadline_of(self.handed_over_at, self.deadline_seconds)
