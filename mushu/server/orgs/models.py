"""Rows of organizations, and of who belongs to them or is invited; roles."""

from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from mushu.server.db import Base, UTCDateTime
from mushu.server.errors import Invalid

IS_OWNER: Final = text("role = 'owner'")


class Role(StrEnum):
    """What a user is in an organization; `gate/access.py` says which scopes each role carries."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"


def parse_assignable(text: str) -> Role:
    """Return the role that `text` names.

    Raises:
        Invalid: unknown, or `owner`, which is never handed out: an organization has one.
    """
    if text in (Role.ADMIN, Role.MEMBER):
        return Role(text)
    raise Invalid("The role must be admin or member.", field="role")


class Organization(Base):
    """Owns keys. A deleted one stays as a row for the audit trail and is found by nobody."""

    __tablename__ = "organizations"
    __table_args__ = (Index("ix_organizations_created_at_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), index=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    created_by: Mapped[str] = mapped_column(ForeignKey("users.id"))
    deleted_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    #: How often all its keys together may be used, as `10/second;1000/day` (`rate_limits`); operators set it.
    limits: Mapped[str | None] = mapped_column(String(120))


class OrgInvitation(Base):
    """An invitation into an organization, by e-mail or by link; its token is kept as a digest."""

    __tablename__ = "invitations"
    __table_args__ = (
        Index("ix_invitations_org_id_created_at_id", "org_id", "created_at", "id"),
        Index("ix_invitations_org_id_status_created_at_id", "org_id", "status", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"))
    #: `email`: for that address only; `link`: for whoever holds it, once.
    invite_type: Mapped[str] = mapped_column(String(8))
    role: Mapped[str] = mapped_column(String(16))
    email: Mapped[str | None] = mapped_column(String(254))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    #: pending, accepted, cancelled or declined; `expired` is what a pending one is called once its time is over.
    stored_status: Mapped[str] = mapped_column("status", String(16))
    #: The id of a user or of an API key, or `operator` or `system`.
    invited_by: Mapped[str] = mapped_column(String(24), index=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime)
    settled_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    accepted_by: Mapped[str | None] = mapped_column(ForeignKey("users.id"))


class Membership(Base):
    """One user in one organization."""

    __tablename__ = "memberships"
    __table_args__ = (
        # One owner per organization, whatever two requests do at once.
        Index("uq_memberships_owner", "org_id", unique=True, sqlite_where=IS_OWNER),
        Index("ix_memberships_org_id_joined_at_user_id", "org_id", "joined_at", "user_id"),
        Index("ix_memberships_user_id_joined_at_org_id", "user_id", "joined_at", "org_id"),
    )

    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    joined_at: Mapped[datetime] = mapped_column(UTCDateTime)

    @property
    def is_owner(self) -> bool:
        return self.role == Role.OWNER
