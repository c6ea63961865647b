"""Rows of users, of what their sign-ins left, and of links that set a password."""

from datetime import datetime

from sqlalchemy import ColumnElement, ForeignKey, Index, String, and_
from sqlalchemy.orm import Mapped, QueryableAttribute, mapped_column

from mushu.server.db import Base, UTCDateTime


class User(Base):
    """A person. The e-mail address is kept in lower case, so that one address is one user."""

    __tablename__ = "users"
    __table_args__ = (Index("ix_users_created_at_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    name: Mapped[str | None] = mapped_column(String(200))
    #: Argon2id in PHC string format, or None while no password was set.
    password_hash: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: What was given before this moment is dead (CLI tokens, browser sessions, password links, approvals of the device
    #: flow): set when the password changes or the user is disabled.
    tokens_valid_from: Mapped[datetime] = mapped_column(UTCDateTime)
    #: Since when the user may change over HTTP what belongs to the server, such as policies; None: they may not.
    operator_since: Mapped[datetime | None] = mapped_column(UTCDateTime)

    @classmethod
    def still_counts(cls, given_at: QueryableAttribute[datetime]) -> ColumnElement[bool]:
        """Tell, in a query joined with the user, whether what was given to the user at that moment still counts."""
        return and_(given_at >= cls.tokens_valid_from, cls.disabled_at.is_(None))


class LoginThrottle(Base):
    """How often signing in failed of late, for one account or from one address, whether or not the account exists."""

    __tablename__ = "login_throttles"

    #: `account:` and the SHA-256 of the address that was typed, `network:` and where the request came from, or `user:`
    #: and the id of who is signed in; `shared account:`, `shared network:` and a number where no room is left.
    subject: Mapped[str] = mapped_column(String(80), primary_key=True)
    failures: Mapped[int]
    last_failed_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)
    blocked_until: Mapped[datetime] = mapped_column(UTCDateTime)


class LoginFailures(Base):
    """Sign-ins that failed: of one account, or of all that are not there; counted for the audit trail."""

    __tablename__ = "login_failures"

    #: The id of a user, or `unknown`.
    subject: Mapped[str] = mapped_column(String(24), primary_key=True)
    #: When the audit trail was last told; None: never.
    told_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: Failures since then.
    untold: Mapped[int]
    #: Where the last one came from.
    address: Mapped[str] = mapped_column(String(64))


class KnownClient(Base):
    """A browser or a network from which a user signed in before, and how many wrong passwords came from it since."""

    __tablename__ = "known_clients"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    #: `browser:` and the SHA-256 of what its cookie holds, or `network:` and an IPv4 address or a /64 of IPv6.
    client: Mapped[str] = mapped_column(String(80), primary_key=True)
    signed_in_at: Mapped[datetime] = mapped_column(UTCDateTime)
    failures: Mapped[int]
    last_failed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


class PasswordLink(Base):
    """A one-time link with which a user sets a password; kept as a digest, like every credential."""

    __tablename__ = "password_links"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
