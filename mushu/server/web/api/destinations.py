"""The named destinations of an organization."""

from pydantic import BaseModel

from mushu.server.clock import rfc3339
from mushu.server.core import db
from mushu.server.db import reading
from mushu.server.destinations import list_destinations
from mushu.server.keys import Scope
from mushu.server.web.api.models import ListWindow, OrgPath
from mushu.server.web.guard import requires
from mushu.server.web.routes import Resource, Route


class NamedDestination(BaseModel):
    """A destination with a name, to which keys may be delivered; its credentials are never answered."""

    name: str
    uri: str
    created_at: str


class DestinationList(BaseModel):
    destinations: list[NamedDestination]
    next_cursor: str | None


@requires(Scope.ADMIN)
def list_named_destinations(path: OrgPath, query: ListWindow) -> DestinationList:
    """List the destinations of an organization, by name. Only an operator can add one: `flask destinations add`."""
    with reading(db.session):
        found = list_destinations(db.session, path.org_id, query.window)
    named = [NamedDestination(name=one.name, uri=one.uri, created_at=rfc3339(one.created_at)) for one in found.rows]
    return DestinationList(destinations=named, next_cursor=found.next_cursor)


RESOURCE = Resource(
    "destinations", [Route("GET", "/orgs/<org_id>/destinations", list_named_destinations, DestinationList)]
)
