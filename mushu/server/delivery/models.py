"""Rows of deliveries: which key is at which destination, and what was found there."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import ForeignKey, Index, String, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from mushu.destination import Location
from mushu.server.db import Base, UTCDateTime


class DeliveryState(StrEnum):
    """How far one key has come at one destination."""

    PENDING = "pending"
    DELIVERED = "delivered"
    VERIFIED = "verified"
    FAILED = "failed"
    #: Another key was delivered over it: the one that took its place.
    REPLACED = "replaced"
    #: The key is dead and its value is gone: Mushu took it away (`removed_at`), or it was not there any more.
    REMOVED = "removed"


class Condition(StrEnum):
    """What a look at one destination found, as against what the ledger says."""

    OK = "ok"
    #: Something else is there.
    DRIFTED = "drifted"
    #: Nothing is there.
    MISSING = "missing"
    #: It could not be found out; it may be there.
    UNREACHABLE = "unreachable"
    #: The destination answers, and does not let Mushu look.
    DENIED = "denied"


# Literal text: SQLite uses a partial index only where a query repeats its condition word for word, no parameters.
IS_UNDER_WAY: Final = text("state IN ('pending', 'delivered')")
IS_CLEANUP_DUE: Final = text("cleanup_due")

#: How long after its lease a write is watched for that may come yet, from a process that was stopped before it.
LATEST_ARRIVAL: Final = timedelta(minutes=10)


class Delivery(Base):
    """The record of one key at one destination. Rows are never deleted: they are the ledger."""

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("uq_deliveries_key_id_uri", "key_id", "uri", unique=True),
        # Two attempts never work on one destination at once, whatever two processes do.
        Index(
            "uq_deliveries_under_way",
            *("uri", "location"),
            unique=True,
            sqlite_where=IS_UNDER_WAY,
        ),
        Index("ix_deliveries_uri", "uri"),
        Index("ix_deliveries_cleanup_due", "uri", sqlite_where=IS_CLEANUP_DUE),
    )

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    uri: Mapped[str] = mapped_column(Text)
    #: Where the URI led to when the key was last seen (`Location.identity`), and how to get there. Empty where that is
    #: not known, and not NULL: two that are empty are equal, which a unique index must know.
    location: Mapped[str] = mapped_column(Text, default="", server_default="")
    directions: Mapped[str] = mapped_column(Text, default="", server_default="")
    state: Mapped[str] = mapped_column(String(16))
    attempt_id: Mapped[str] = mapped_column(String(24))
    #: What the destination was at before; the condition of the write.
    expected_version: Mapped[str] = mapped_column(Text)
    #: Until then the process that minted the key may still be at work, be it putting things back; afterwards others
    #: may judge the attempt dead. Set back to `created_at` once that process will certainly write no more.
    lease_until: Mapped[datetime] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    delivered_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    verified_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    removed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: When it was last looked at, and what was found then (`Condition`).
    checked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    condition: Mapped[str | None] = mapped_column(String(16))
    #: Who had the key put there, as `user usr_…`; None for deliveries from before this was noted.
    delivered_by: Mapped[str | None] = mapped_column(String(160))
    #: The version that the write produced.
    version: Mapped[str | None] = mapped_column(Text)
    #: What last went wrong, for a person.
    error: Mapped[str | None] = mapped_column(Text)
    #: The key is dead and the destination may still hold it: the sweeper looks there and removes it by its digest.
    cleanup_due: Mapped[bool] = mapped_column(default=False)
    #: The destination is on a client's machine: the client wrote there and proved it, and the server never opens it.
    on_client: Mapped[bool] = mapped_column(default=False, server_default=false())

    @property
    def where(self) -> Location:
        """Where the key was last seen; without an identity where that is not known."""
        return Location(self.location, self.directions)

    def may_be_at(self, location: str) -> bool:
        """Tell whether it is at this location, as far as is known of both."""
        return "" in (self.location, location) or self.location == location

    def may_arrive(self, now: datetime) -> bool:
        """Tell whether a write of this attempt may still come, even if its lease is over."""
        return self.lease_until > self.created_at and now < self.lease_until + LATEST_ARRIVAL
