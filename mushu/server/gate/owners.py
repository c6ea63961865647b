"""How a request says which organization it is about; a resource registers the look-up of the one that owns it here."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from mushu.server.db import AnySession
from mushu.server.errors import NotFound


class OrgFrom(StrEnum):
    """The request names the organization itself."""

    #: In its path; or it is about none.
    PATH = "path"
    #: In the field `org_id` of its query or of its body. An API key may leave it out.
    FIELD = "field"


@dataclass(frozen=True, slots=True)
class OwnerLookup:
    """The request names a resource in its path, and the resource belongs to an organization."""

    #: The word for the resource, as `tenant`; the path holds its id as `<tenant_id>`.
    resource: str
    #: Returns the id of the organization that owns the resource, or None where there is no such resource.
    find_org: Callable[[AnySession, str], str | None]
    not_found: type[NotFound]
