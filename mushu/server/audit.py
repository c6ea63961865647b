"""The audit trail: who changed what, written in the same transaction as the change it records.

Services of every domain call `record`; nothing here calls them. Events are only ever added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeAlias

from sqlalchemy import JSON, ColumnElement, Index, Integer, String, and_, bindparam, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from mushu.server.db import AnySession, Base, UTCDateTime
from mushu.server.environments import Source, prepare
from mushu.server.paging import Order, Page, Window, merged_page


class AuditEvent(Base):
    """One change of state. Rows outlive what they speak of, so they refer by id and without foreign keys."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_org_id_id", "org_id", "id"),
        Index("ix_audit_events_target_id_id", "target_id", "id"),
        Index("ix_audit_events_actor_id_id", "actor_id", "id"),
    )

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


class ActorKind(StrEnum):
    USER = "user"
    API_KEY = "api_key"
    OPERATOR = "operator"
    SYSTEM = "system"


#: What an event may say beyond its columns.
Detail: TypeAlias = str | int | list[str] | None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: a principal of the API, an operator at the server's command line, or the server itself."""

    kind: ActorKind
    id: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


SYSTEM: Final = Actor(ActorKind.SYSTEM, "mushu")


def record(
    session: AnySession,
    at: datetime,
    actor: Actor,
    action: str,
    target_id: str,
    *,
    org_id: str | None = None,
    details: Mapping[str, Detail] | None = None,
) -> None:
    """Add one event to the caller's transaction.

    Args:
        action: what was done, as `key.deleted`.
        target_id: the public id of what it was done to.
        details: what a reader will ask; never a secret.
    """
    session.add(
        AuditEvent(
            at=at,
            actor_kind=actor.kind,
            actor_id=actor.id,
            action=action,
            org_id=org_id,
            target_id=target_id,
            details=dict(details or {}),
        )
    )


_NEWEST: Final = prepare(
    select(*AuditEvent.__table__.columns)
    .where(AuditEvent.org_id == bindparam("org_id"))
    .order_by(AuditEvent.id.desc())
    .limit(bindparam("limit", type_=Integer))
)


#: As an expression it has no index: of a thing there are few events, and of an organization there may be many.
_ORG_OF_FEW: Final = AuditEvent.org_id.concat("")


def _about(thing: Any) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return what an event about a thing is: it was done to it, or by it; each of the two has an index."""
    by_it = and_(AuditEvent.actor_kind == ActorKind.API_KEY, AuditEvent.actor_id == thing)
    return AuditEvent.target_id == thing, by_it


_OF_ONE: Final = select(*AuditEvent.__table__.columns).where(bindparam("org_id") == _ORG_OF_FEW)
_NEWEST_ABOUT: Final = [
    prepare(_OF_ONE.where(condition).order_by(AuditEvent.id.desc()).limit(bindparam("limit", type_=Integer)))
    for condition in _about(bindparam("about"))
]


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are meant; what is None leaves none out."""

    org_id: str | None = None
    #: What was done, as `key.deleted`, or its first word: `key`.
    action: str | None = None
    #: The id of who did it, or their kind, as `user`.
    actor: str | None = None
    #: The public id of what it was done to, or of the API key that did it.
    about: str | None = None
    since: datetime | None = None
    #: This moment itself does not count.
    until: datetime | None = None
    #: Find nobody by the account of an operator, which is no business of an organization.
    without_accounts: bool = False


def newest_events(source: Source, org_id: str, most: int) -> Sequence[Any]:
    """Return the newest events of an organization, as rows of `AuditEvent`, the newest first."""
    return _NEWEST.rows(source, {"org_id": org_id, "limit": most})


def newest_events_about(source: Source, org_id: str, about: str, most: int) -> Sequence[Any]:
    """Return the same of those that something of the organization was done by, or that was done to it."""
    given = {"org_id": org_id, "about": about, "limit": most}
    found = {event.id: event for prepared in _NEWEST_ABOUT for event in prepared.rows(source, given)}
    return [found[event_id] for event_id in sorted(found, reverse=True)[:most]]


def list_events(session: AnySession, wanted: EventFilter, window: Window) -> Page[AuditEvent]:
    """Return a page of the events that are meant, newest first.

    Raises:
        Invalid: the cursor is not one of ours.
    """
    query = select(AuditEvent)
    if wanted.org_id is not None:
        org_id = AuditEvent.org_id if wanted.about is None else _ORG_OF_FEW
        query = query.where(org_id == wanted.org_id)
    if wanted.action is not None:
        within = AuditEvent.action.startswith(f"{wanted.action}.", autoescape=True)
        query = query.where(or_(AuditEvent.action == wanted.action, within))
    if wanted.actor is not None:
        by_id = AuditEvent.actor_id == wanted.actor
        if wanted.without_accounts:
            by_id = and_(by_id, AuditEvent.actor_kind != ActorKind.OPERATOR)
        is_kind = wanted.actor in {*ActorKind}  # an account may be called so, too
        query = query.where(or_(AuditEvent.actor_kind == wanted.actor, by_id) if is_kind else by_id)
    if wanted.since is not None:
        query = query.where(AuditEvent.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(AuditEvent.at < wanted.until)
    queries = [query] if wanted.about is None else [query.where(condition) for condition in _about(wanted.about)]
    return merged_page(session, queries, Order((AuditEvent.id,), descending=True), window)
