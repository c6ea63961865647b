"""Rows of CLI tokens, browser sessions and runs of the device flow; what each user holds is kept as a digest."""

from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, ForeignKey, Index, Select, String, select, update
from sqlalchemy.orm import Mapped, mapped_column

from mushu.server.db import AnySession, Base, UTCDateTime
from mushu.server.users.models import User

#: The contract: a CLI token lives for 12 hours. So does a session.
LIFETIME: Final = timedelta(hours=12)


class SignInMixin:
    """What a sign-in of a user leaves, in a terminal and in a browser alike."""

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)


class CliToken(SignInMixin, Base):
    """One login of one user at a terminal."""

    __tablename__ = "cli_tokens"
    __table_args__ = (Index("ix_cli_tokens_user_id_issued_at_id", "user_id", "issued_at", "id"),)

    issued_at: Mapped[datetime] = mapped_column(UTCDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: What asked for it, in its own words, such as `ada@laptop`.
    client_name: Mapped[str | None] = mapped_column(String(100))


class BrowserSession(SignInMixin, Base):
    """One sign-in of one user in one browser; the digest is that of what its cookie holds."""

    __tablename__ = "browser_sessions"
    __table_args__ = (Index("ix_browser_sessions_user_id", "user_id"),)

    issued_at: Mapped[datetime] = mapped_column("started_at", UTCDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column("ended_at", UTCDateTime)
    #: Where the sign-in came from, and what the browser calls itself.
    address: Mapped[str] = mapped_column(String(64))
    user_agent: Mapped[str | None] = mapped_column(String(200))


class DeviceAuthorization(Base):
    """One run of the device flow (RFC 8628): a program waits with a device code until a person typed the user code."""

    __tablename__ = "device_authorizations"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    device_code_digest: Mapped[str] = mapped_column(String(64), unique=True)
    #: Eight letters without the hyphen.
    user_code: Mapped[str] = mapped_column(String(8), unique=True)
    state: Mapped[str] = mapped_column(String(16))
    client_name: Mapped[str | None] = mapped_column(String(100))
    #: Where the request came from.
    address: Mapped[str] = mapped_column(String(64))
    #: What runs are counted by.
    network: Mapped[str] = mapped_column(String(64), index=True, server_default="")
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)
    #: Seconds that the program must leave between two questions.
    interval: Mapped[int]
    last_asked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: Who approved or denied it, and when.
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    decided_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


Issued = TypeVar("Issued", CliToken, BrowserSession)


def living(kind: type[Issued], now: Any) -> Select[Any]:
    """Select what is neither revoked nor expired, of users that have neither been disabled nor changed the password."""
    return (
        select(kind)
        .join(User, User.id == kind.user_id)
        .where(
            kind.revoked_at.is_(None),
            kind.expires_at > now,
            User.still_counts(kind.issued_at),
        )
    )


def revoke(session: AnySession, kind: type[Issued], now: datetime, which: ColumnElement[bool]) -> bool:
    """Revoke what is not revoked yet; of several requests at once, one is told that it did."""
    unrevoked = update(kind).where(which, kind.revoked_at.is_(None))
    return session.execute(unrevoked.values(revoked_at=now)).rowcount > 0  # type: ignore[attr-defined,no-any-return]
