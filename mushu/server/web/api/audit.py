"""The audit trail of an organization."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from mushu.server import answers
from mushu.server.audit import ActorKind, EventFilter, list_events
from mushu.server.core import db
from mushu.server.db import reading
from mushu.server.keys import Scope
from mushu.server.web.api.models import ListWindow, Moment, OrgPath
from mushu.server.web.guard import requires
from mushu.server.web.routes import Resource, Route

_Word = Annotated[str | None, Field(min_length=1, max_length=128)]


class EventsOf(ListWindow):
    """`key` is the id of a key: what was done to it, and what it did. `since` counts, `until` does not."""

    action: _Word = None
    actor: _Word = None
    key: _Word = None
    since: Moment | None = None
    until: Moment | None = None

    def wanted(self, org_id: str) -> EventFilter:
        """Return which events of an organization are meant."""
        return EventFilter(
            org_id=org_id,
            action=self.action,
            actor=self.actor,
            about=self.key,
            since=self.since,
            until=self.until,
            without_accounts=True,
        )


class AuditEntry(BaseModel):
    """One change. `actor_id` is null for an operator of the server, whose account is no business of members."""

    event_id: int
    at: str
    action: str
    actor_kind: str
    actor_id: str | None
    target_id: str
    org_id: str
    details: dict[str, Any]


class AuditTrail(BaseModel):
    events: list[AuditEntry]
    next_cursor: str | None


@requires(Scope.ADMIN, tells_of_both=True)
def list_audit_events(path: OrgPath, query: EventsOf) -> AuditTrail:
    """List what was changed in an organization, when and by which actor, newest first; of live and test alike."""
    with reading(db.session):
        found = list_events(db.session, query.wanted(path.org_id), query.window).shown(answers.event)
    return AuditTrail(events=[_entry(event) for event in found.rows], next_cursor=found.next_cursor)


def _entry(event: answers.Answer) -> AuditEntry:
    hidden = {"actor_id": None} if event["actor_kind"] == ActorKind.OPERATOR else {}
    return AuditEntry(**event | hidden)


RESOURCE = Resource("audit", [Route("GET", "/orgs/<org_id>/audit", list_audit_events, AuditTrail)])
