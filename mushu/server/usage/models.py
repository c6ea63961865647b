"""Rows of usage: what was counted of keys, by hour and day, by address, and by reason of denial.

They name keys by id and without foreign keys: on SQLite they stand in a file of their own (`store.py`).
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import BigInteger, Index, Integer, String, Table, text, true
from sqlalchemy.orm import Mapped, mapped_column

from mushu.server.db import Base, UTCDateTime

#: Addresses, and networks, that are remembered of a key.
ADDRESSES: Final = 5
NETWORKS: Final = 20
#: Letters of an address or a reason that are kept.
LENGTH: Final = 64
#: Seconds of a period, and how long hours and days are kept.
HOUR: Final = 3_600
DAY: Final = 86_400
HOURS_KEPT: Final = timedelta(days=30)
DAYS_KEPT: Final = timedelta(days=400)
# Literal text: SQLite uses a partial index only where a query repeats its condition word for word, no parameters.
NOT_NOTED: Final = text("NOT noted")


class KeyUse(Base):
    """What is known of the uses of one key, all workers and machines together."""

    __tablename__ = "key_uses"
    __table_args__ = (Index("ix_key_uses_not_noted", "key_id", sqlite_where=NOT_NOTED),)

    key_id: Mapped[str] = mapped_column(String(24), primary_key=True)
    first_used_at: Mapped[datetime] = mapped_column(UTCDateTime)
    last_used_at: Mapped[datetime] = mapped_column(UTCDateTime)
    #: The address that the last request came from.
    last_used_from: Mapped[str] = mapped_column(String(LENGTH))
    requests: Mapped[int] = mapped_column(BigInteger)
    #: The rotation that waited for the first use knows of it.
    noted: Mapped[bool] = mapped_column(server_default=true())


class UsagePeriod(Base):
    """The requests of one key in one hour or one day."""

    __tablename__ = "usage_periods"
    __table_args__ = (Index("ix_usage_periods_seconds_start", "seconds", "start"),)

    key_id: Mapped[str] = mapped_column(String(24), primary_key=True)
    #: `HOUR` or `DAY`.
    seconds: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    start: Mapped[datetime] = mapped_column(UTCDateTime, primary_key=True)
    requests: Mapped[int] = mapped_column(BigInteger)
    denials: Mapped[int] = mapped_column(BigInteger)
    last_used_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    last_denied_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


class UsageSource(Base):
    """An address, or a network, from which a key was used."""

    __tablename__ = "usage_sources"

    key_id: Mapped[str] = mapped_column(String(24), primary_key=True)
    #: As `192.0.2.7` or `192.0.2.0/24`.
    source: Mapped[str] = mapped_column(String(LENGTH), primary_key=True)
    first_seen_at: Mapped[datetime] = mapped_column(UTCDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UTCDateTime)


class UsageDenial(Base):
    """How often a key was refused for one reason."""

    __tablename__ = "usage_denials"

    key_id: Mapped[str] = mapped_column(String(24), primary_key=True)
    #: The code of the error.
    reason: Mapped[str] = mapped_column(String(LENGTH), primary_key=True)
    denials: Mapped[int] = mapped_column(BigInteger)
    last_denied_at: Mapped[datetime] = mapped_column(UTCDateTime)
    #: The address that it was refused to last.
    last_denied_from: Mapped[str] = mapped_column(String(LENGTH))


class UsageFile(Base):
    """A file of counters that was added up, until it is removed."""

    __tablename__ = "usage_files"

    name: Mapped[str] = mapped_column(String(LENGTH), primary_key=True)


TABLES: Final[list[Table]] = [
    Base.metadata.tables[model.__tablename__] for model in (KeyUse, UsagePeriod, UsageSource, UsageDenial, UsageFile)
]
