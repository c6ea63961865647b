"""Writes events into the audit trail, and says who acts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias

from mushu.server.audit.models import AuditEvent
from mushu.server.db import AnySession


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
