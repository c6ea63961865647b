"""Whether an API key is good, for a service that was sent one and does not check it itself.

Whoever asks holds the key, and learns what a request with it would tell; so nobody has to say who they are.
"""

from typing import Final

from pydantic import BaseModel

from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.errors import Unauthenticated, WrongEnvironment
from mushu.server.gate.access import Requirement, require_environment
from mushu.server.gate.credential import read_headers
from mushu.server.gate.principal import KeyPrincipal, Principal, authenticate
from mushu.server.keys.scopes import Scope
from mushu.server.web.api.models import Body, Text
from mushu.server.web.guard import current_environment, public
from mushu.server.web.routes import Resource, Route

_ANY: Final = Requirement(scope=None)


class KeyToValidate(Body):
    key: Text


class KeyValidation(BaseModel):
    """A key that is good, or a sentence that says why it is not.

    `scope` is for clients that know scopes as steps of a ladder: the highest one that the key has with all below it.
    """

    valid: bool
    key_id: str | None = None
    org_id: str | None = None
    environment: str | None = None
    scope: str | None = None
    scopes: list[str] | None = None
    error: str | None = None


@public
def validate_api_key(body: KeyToValidate) -> KeyValidation:
    """Tell whether an API key is good, as a request with it would; it does not count as one."""
    try:
        with reading(db.session):
            key = authenticate(db.session, get_core().clock, read_headers(None, body.key))
        require_environment(key, _ANY, current_environment())
    except (Unauthenticated, WrongEnvironment) as refusal:
        return KeyValidation(valid=False, error=refusal.detail)
    return _answer(key)


def _answer(key: Principal) -> KeyValidation:
    if not isinstance(key, KeyPrincipal):
        raise TypeError("what is read as an API key proves an API key")
    return KeyValidation(
        valid=True,
        key_id=key.key_id,
        org_id=key.org_id,
        environment=key.environment,
        scope=_highest(key.scopes),
        scopes=[*key.scopes],
    )


def _highest(scopes: tuple[Scope, ...]) -> str | None:
    """Return the highest step that is reached without a gap; what a key may not do is never claimed."""
    highest = None
    for scope in Scope:
        if scope not in scopes:
            break
        highest = scope
    return highest


RESOURCE = Resource("api-key validation", [Route("POST", "/api-keys/validate", validate_api_key, KeyValidation)])
