"""Whose key a digest is, for a client that finds a value where it is to put another."""

from typing import Annotated, Final

from pydantic import Field

from mushu.server.core import db
from mushu.server.db import reading
from mushu.server.errors import KeyNotFound
from mushu.server.keys.scopes import Scope
from mushu.server.keys.service import find_key_by_digest
from mushu.server.web.api.keys import Key, key_answer
from mushu.server.web.api.models import Body, OrgPath
from mushu.server.web.guard import current_environment, requires
from mushu.server.web.routes import Resource, Route

_SHA_256: Final = r"^[0-9A-Fa-f]{64}$"


class KeyDigest(Body):
    digest: Annotated[str, Field(pattern=_SHA_256)]


@requires(Scope.ADMIN)
def look_up_api_key(path: OrgPath, body: KeyDigest) -> Key:
    """Show the API key that has this SHA-256, deleted ones included: what may be overwritten is told by its state."""
    with reading(db.session):
        key = find_key_by_digest(db.session, body.digest.lower())
        if key is None or (key.org_id, key.environment) != (path.org_id, current_environment()):
            raise KeyNotFound(f"No {current_environment()} API key of {path.org_id} has this digest.")
        return key_answer(key)


RESOURCE = Resource("api-key lookup", [Route("POST", "/orgs/<org_id>/api-keys/lookup", look_up_api_key, Key)])
