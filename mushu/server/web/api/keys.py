"""API keys over HTTP: issued, rotated, confirmed, changed, deleted, looked up, validated; each view calls one verb.

Who has a key validated holds it, and learns what a request with it would tell; so nobody has to say who they are.
"""

from http import HTTPStatus
from typing import Final

from flask import request
from pydantic import BaseModel

from mushu.server import answers
from mushu.server.client_address import client_address
from mushu.server.core import db, gate_reader_in, get_core
from mushu.server.db import reading
from mushu.server.delivery import ledger
from mushu.server.delivery.named_destinations import names_of
from mushu.server.errors import KeyNotFound, Unauthenticated, WrongEnvironment, WrongNetwork
from mushu.server.gate import KeyPrincipal, Principal
from mushu.server.gate.access import Requirement, require_environment
from mushu.server.gate.credential import read_key
from mushu.server.gate.principal import authenticate
from mushu.server.keys import Scope
from mushu.server.keys.rotation import RotationRequest
from mushu.server.keys.service import find_key_by_digest, get_key_of
from mushu.server.lifecycle.change import disable, enable, extend, rename, restrict
from mushu.server.lifecycle.confirm import confirm
from mushu.server.lifecycle.delete import delete
from mushu.server.lifecycle.issue import issue
from mushu.server.lifecycle.rotate import rotate
from mushu.server.web.api.key_list_models import KeyFilters, KeyList, KeysOf, KeySummary
from mushu.server.web.api.key_models import (
    DELIVERY_REFUSALS,
    ClientDeliveries,
    CreatedKey,
    Key,
    KeyDeliveries,
    KeyDelivery,
    KeyDigest,
    KeyExtension,
    KeyName,
    KeyPath,
    KeyRestrictions,
    KeyRotation,
    KeyUsage,
    NewKey,
    key_answer,
    minted_answer,
)
from mushu.server.web.api.models import Body, Deleted, IdempotencyHeader, OrgPath, Text, idempotency_of
from mushu.server.web.guard import (
    current_context,
    current_environment,
    name_in_access_log,
    public,
    requires,
)
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


@requires(Scope.ADMIN)
def create_api_key(header: IdempotencyHeader, path: OrgPath, body: NewKey) -> CreatedKey:
    """Create an API key; the answer is the only place where it is ever shown."""
    request = body.request(path.org_id, idempotency_of(header, body))
    return minted_answer(issue(current_context(), request, body.choice), body.deliver_to)


@requires(Scope.ADMIN)
def rotate_api_key(header: IdempotencyHeader, path: KeyPath, body: KeyRotation) -> CreatedKey:
    """Put a new key in the place of one, which works on until the new one was seen in use."""
    request = RotationRequest(key_id=path.key_id, terms=body.terms, idempotency=idempotency_of(header, body))
    return minted_answer(rotate(current_context(), request, body.choice), body.deliver_to)


@requires(Scope.ADMIN)
def extend_api_key(path: KeyPath, body: KeyExtension) -> Key:
    """Let the old key of a rotation work until a later moment."""
    return key_answer(extend(current_context(), path.key_id, body.retires_at))


@requires(Scope.ADMIN)
def confirm_client_delivery(path: KeyPath, body: ClientDeliveries) -> Key:
    """Activate a key that was created with `delivery: client`: each digest is the SHA-256 of what was read back."""
    return key_answer(confirm(current_context(), path.key_id, body.proofs))


@requires(Scope.ADMIN)
def list_api_keys(path: OrgPath, query: KeysOf) -> KeyList:
    """List the API keys of an organization, newest first or by `sort`; go on with `cursor`."""
    now = get_core().clock()
    with reading(db.session):
        hygiene = query.hygiene(db.session, path.org_id)
        found = answers.key_page(db.session, now, path.org_id, query.selection(now), hygiene, query.window, query.sort)
    return KeyList(api_keys=[Key(**key) for key in found.rows], next_cursor=found.next_cursor)


@requires(Scope.ADMIN)
def summarize_api_keys(path: OrgPath, query: KeyFilters) -> KeySummary:
    """Count the API keys that a list shows, those that somebody should look at, and their requests by hour."""
    now = get_core().clock()
    with reading(db.session):
        hygiene = query.hygiene(db.session, path.org_id)
        return KeySummary(**answers.key_summary(db.session, now, path.org_id, query.selection(now), hygiene))


@requires(Scope.ADMIN)
def show_api_key(path: KeyPath) -> Key:
    """Show an API key: all but the key."""
    with reading(db.session):
        key = get_key_of(db.session, path.org_id, current_environment(), path.key_id)
    return key_answer(key)


@requires(Scope.ADMIN)
def rename_api_key(path: KeyPath, body: KeyName) -> Key:
    """Give an API key another name."""
    return key_answer(rename(current_context(), path.key_id, body.name))


@requires(Scope.ADMIN)
def restrict_api_key(path: KeyPath, body: KeyRestrictions) -> Key:
    """Change how often an API key may be used, and from which networks."""
    return key_answer(restrict(current_context(), path.key_id, **body.changes))


@requires(Scope.ADMIN)
def disable_api_key(path: KeyPath) -> Key:
    """Refuse an API key from now on, until it is enabled again."""
    return key_answer(disable(current_context(), path.key_id))


@requires(Scope.ADMIN)
def enable_api_key(path: KeyPath) -> Key:
    """Let a disabled API key work again."""
    return key_answer(enable(current_context(), path.key_id))


@requires(Scope.ADMIN)
def delete_api_key(path: KeyPath) -> Deleted:
    """Delete an API key for good: the very next request with it is refused."""
    delete(current_context(), path.key_id)
    return Deleted()


@requires(Scope.ADMIN)
def list_api_key_deliveries(path: KeyPath) -> KeyDeliveries:
    """Show where a key was put, at which version, who put it there, and what was found there since."""
    with reading(db.session):
        key = get_key_of(db.session, path.org_id, current_environment(), path.key_id, with_deleted=True)
        found = ledger.list_deliveries(db.session, [key.id])
        names = names_of(db.session, [delivery.uri for delivery in found], path.org_id)
    lines = [answers.delivery(delivery, names.get(delivery.uri)) for delivery in found]
    return KeyDeliveries(deliveries=[KeyDelivery(**line) for line in lines])


@requires(Scope.ADMIN)
def show_api_key_usage(path: KeyPath) -> KeyUsage:
    """Show how often a key was used, when, from where, and what was refused to it; of a deleted key, too."""
    with reading(db.session):
        key = get_key_of(db.session, path.org_id, current_environment(), path.key_id, with_deleted=True)
        return KeyUsage(**answers.usage(db.session, get_core().clock(), key))


@requires(Scope.ADMIN)
def look_up_api_key(path: OrgPath, body: KeyDigest) -> Key:
    """Show the API key that has this SHA-256, deleted ones included: what may be overwritten is told by its state."""
    with reading(db.session):
        key = find_key_by_digest(db.session, body.digest.lower())
        if key is None or (key.org_id, key.environment) != (path.org_id, current_environment()):
            raise KeyNotFound(f"No {current_environment()} API key of {path.org_id} has this digest.")
    return key_answer(key)


_MANY = "/orgs/<org_id>/api-keys"
_ONE = f"{_MANY}/<key_id>"


@public
def validate_api_key(body: KeyToValidate) -> KeyValidation:
    """Tell whether an API key is good, as a request with it would; it does not count as one."""
    environment, core = current_environment(), get_core()
    try:
        key = authenticate(gate_reader_in(environment), core.clock, read_key(body.key))
        name_in_access_log(key, request.environ)
        require_environment(key, _ANY, environment)
        if key.bounds is not None:
            key.bounds.require_network(client_address(request.environ, core.settings.client_address_header))
    except (Unauthenticated, WrongEnvironment, WrongNetwork) as refusal:
        return KeyValidation(valid=False, error=refusal.detail)
    return validated(key)


def validated(key: Principal) -> KeyValidation:
    """Return the answer about a key that is good."""
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


RESOURCE = Resource(
    "api-keys",
    [
        Route("POST", _MANY, create_api_key, CreatedKey, DELIVERY_REFUSALS),
        Route("GET", _MANY, list_api_keys, KeyList),
        Route("GET", f"{_MANY}/summary", summarize_api_keys, KeySummary),
        Route("GET", _ONE, show_api_key, Key),
        Route("GET", f"{_ONE}/usage", show_api_key_usage, KeyUsage),
        Route("PATCH", _ONE, rename_api_key, Key),
        Route("PATCH", f"{_ONE}/restrictions", restrict_api_key, Key),
        Route("POST", f"{_ONE}/disable", disable_api_key, Key, (HTTPStatus.CONFLICT,)),
        Route("POST", f"{_ONE}/enable", enable_api_key, Key, (HTTPStatus.CONFLICT,)),
        Route("DELETE", _ONE, delete_api_key, Deleted, (HTTPStatus.CONFLICT,)),
    ],
)
LOOKUP = Resource("api-key lookup", [Route("POST", f"{_MANY}/lookup", look_up_api_key, Key)])
ROTATION = Resource(
    "api-key rotation",
    [
        Route("POST", f"{_ONE}/rotate", rotate_api_key, CreatedKey, DELIVERY_REFUSALS),
        Route("POST", f"{_ONE}/extend", extend_api_key, Key, (HTTPStatus.CONFLICT,)),
        Route("GET", f"{_ONE}/deliveries", list_api_key_deliveries, KeyDeliveries),
    ],
)
CONFIRMATION = Resource(
    "client deliveries",
    [Route("POST", f"{_ONE}/delivered", confirm_client_delivery, Key, (HTTPStatus.CONFLICT,))],
)
VALIDATION = Resource("api-key validation", [Route("POST", "/api-keys/validate", validate_api_key, KeyValidation)])
