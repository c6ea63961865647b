from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from mushu.server import answers
from mushu.server.clock import parse_duration
from mushu.server.core import courier_for, db, get_core
from mushu.server.db import reading, writing
from mushu.server.delivery.client import mint_for_client
from mushu.server.delivery.named import names_of, uris_of
from mushu.server.delivery.once import Minted, mint_once
from mushu.server.delivery.overview import overviews
from mushu.server.delivery.removal import delete_key
from mushu.server.errors import Invalid
from mushu.server.idempotency import Once
from mushu.server.keys.activation import issue_key
from mushu.server.keys.models import ApiKey
from mushu.server.keys.requests import KeyRequest
from mushu.server.keys.scopes import Scope, parse_scopes
from mushu.server.keys.service import Selection, change_state, get_key_of, list_keys, rename_key
from mushu.server.keys.states import DISABLE, ENABLE, Transition
from mushu.server.web.api.models import Body, Deleted, ListWindow, OrgPath, Text, optional
from mushu.server.web.guard import current_environment, current_principal, requires
from mushu.server.web.idempotency import IdempotencyHeader, once
from mushu.server.web.routes import Resource, Route

#: What a delivery by the server can end with.
DELIVERY_REFUSALS: Final = (HTTPStatus.CONFLICT, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE)
MOST_DESTINATIONS: Final = 20


class KeyPath(OrgPath):
    key_id: str


def _written_out(moment: object) -> object:
    """Take a moment as RFC 3339 writes it only: a bare number would be taken for seconds, or for milliseconds."""
    if moment is None or (isinstance(moment, str) and "T" in moment.upper()):
        return moment
    raise PydanticCustomError("datetime_parsing", "not written as in RFC 3339")


class NewKey(Body):
    """`delivery: client` asks for a key that is pending until `…/delivered` proves where the client put it.

    `deliver_to` names destinations that an operator has set up; then the answer holds no key.
    """

    name: Text
    scopes: Annotated[list[Text], Field(max_length=10)] | None = None
    delivery: Literal["client"] | None = None
    deliver_to: list[Text] | None = Field(default=None, max_length=MOST_DESTINATIONS)
    rotate_every: Text | None = None
    expires_at: Annotated[AwareDatetime | None, Field(strict=False), BeforeValidator(_written_out)] = None


class KeyName(Body):
    name: Text


class KeysOf(ListWindow):
    include_deleted: bool = False


class CreatedKey(BaseModel):
    """A new key; `key` is in this answer only, and nowhere else ever again. One that was delivered is in no answer."""

    key_id: str
    key: str | None = optional()
    name: str
    scopes: list[str]
    created_at: str
    environment: str
    expires_at: str | None = optional()
    confirm_by: str | None = optional()
    rotate_every: str | None = optional()
    rotate_at: str | None = optional()
    replaces: str | None = optional()
    delivered_to: list[str] | None = optional()


class Key(BaseModel):
    key_id: str
    name: str
    scopes: list[str]
    created_at: str
    environment: str
    state: str
    hint: str
    expires_at: str | None = optional()
    confirm_by: str | None = optional()
    rotate_every: str | None = optional()
    rotate_at: str | None = optional()
    replaces: str | None = optional()
    replaced_by: str | None = optional()
    retires_at: str | None = optional()
    delivered_to: list[str] | None = optional()
    first_used_at: str | None = optional()
    last_used_at: str | None = optional()
    last_used_from: str | None = optional()


class KeyList(BaseModel):
    api_keys: list[Key]
    next_cursor: str | None


@requires(Scope.ADMIN)
def create_api_key(header: IdempotencyHeader, path: OrgPath, body: NewKey) -> CreatedKey:
    """Create an API key; the answer is the only place where it is ever shown."""
    request = KeyRequest(
        org_id=path.org_id,
        name=body.name,
        scopes=parse_scopes(body.scopes) if body.scopes is not None else None,
        environment=current_environment(),
        expires_at=body.expires_at,
        rotate_every=parse_duration(body.rotate_every, "rotate_every") if body.rotate_every is not None else None,
        once=once(header, body),
    )
    return answer_minted(request.once, lambda: _mint(request, body), body.deliver_to or ())


@requires(Scope.ADMIN)
def list_api_keys(path: OrgPath, query: KeysOf) -> KeyList:
    """List the API keys of an organization, newest first; go on with `cursor` where `next_cursor` is not null."""
    selection = Selection((current_environment(),), with_deleted=query.include_deleted)
    with reading(db.session):
        found = list_keys(db.session, path.org_id, selection, query.window)
        about = overviews(db.session, [key.id for key in found.rows])
    now = get_core().clock()
    return KeyList(
        api_keys=[Key(**answers.shown_key(key, now, about[key.id])) for key in found.rows],
        next_cursor=found.next_cursor,
    )


@requires(Scope.ADMIN)
def show_api_key(path: KeyPath) -> Key:
    """Show an API key: all but the key."""
    with reading(db.session):
        return key_answer(get_key_of(db.session, path.org_id, current_environment(), path.key_id))


@requires(Scope.ADMIN)
def rename_api_key(path: KeyPath, body: KeyName) -> Key:
    """Give an API key another name."""
    with writing(db.session):
        key = get_key_of(db.session, path.org_id, current_environment(), path.key_id)
        return key_answer(rename_key(db.session, get_core().clock, current_principal().actor, key, body.name))


@requires(Scope.ADMIN)
def disable_api_key(path: KeyPath) -> Key:
    """Refuse an API key from now on, until it is enabled again."""
    return _change(path, DISABLE)


@requires(Scope.ADMIN)
def enable_api_key(path: KeyPath) -> Key:
    """Let a disabled API key work again."""
    return _change(path, ENABLE)


@requires(Scope.ADMIN)
def delete_api_key(path: KeyPath) -> Deleted:
    """Delete an API key for good: the very next request with it is refused."""
    core = get_core()
    with reading(db.session):
        key = get_key_of(db.session, path.org_id, current_environment(), path.key_id)
    delete_key(db.session, core.clock, current_principal().actor, core.open_destination, key.id)
    return Deleted()


def _change(path: KeyPath, change: Transition) -> Key:
    with writing(db.session):
        key = get_key_of(db.session, path.org_id, current_environment(), path.key_id)
        return key_answer(change_state(db.session, get_core().clock, current_principal().actor, key.id, change))


def key_answer(key: ApiKey) -> Key:
    """Answer a key within the caller's transaction."""
    about = overviews(db.session, [key.id])[key.id]
    return Key(**answers.shown_key(key, get_core().clock(), about))


def named_uris(org_id: str, delivery: str | None, names: list[str]) -> list[str]:
    """Return the URIs of the destinations that a body names.

    Raises:
        Invalid: the key is asked for in two ways, or no or the same name is given.
        DestinationNotFound: a name is none of this organization's.
    """
    if delivery is not None:
        raise Invalid("Ask for a delivery by the server (deliver_to) or by you (delivery), not both.", field="delivery")
    with reading(db.session):
        return uris_of(db.session, org_id, names)


def answer_minted(mark: Once | None, mint: Callable[[], Minted], names: Sequence[str] = ()) -> CreatedKey:
    """Have a key minted, unless the same request was made before, and answer it.

    Args:
        names: the destinations that the body names, in whose order they are answered.

    Raises:
        what `mint_once` raises.
    """
    minted = mint_once(courier_for(current_principal().actor), mark, mint)
    places = list(minted.delivered_to)
    if len(names) > 1:
        with reading(db.session):
            called = names_of(db.session, places, minted.key.org_id)
        places.sort(key=lambda uri: names.index(called[uri]) if called.get(uri) in names else len(names))
    return CreatedKey(**answers.created_key(minted.key, minted.secret, places, minted.replaces))


def _mint(request: KeyRequest, body: NewKey) -> Minted:
    actor = current_principal().actor
    if body.deliver_to is not None:
        uris = named_uris(request.org_id, body.delivery, body.deliver_to)
        key, places = courier_for(actor).deliver(request, uris)
        return Minted(key, delivered_to=places)
    mint = mint_for_client if body.delivery == "client" else issue_key
    with writing(db.session):
        return Minted(*mint(db.session, get_core().clock, actor, request))


_MANY = "/orgs/<org_id>/api-keys"
_ONE = f"{_MANY}/<key_id>"

RESOURCE = Resource(
    "api-keys",
    [
        Route("POST", _MANY, create_api_key, CreatedKey, DELIVERY_REFUSALS),
        Route("GET", _MANY, list_api_keys, KeyList, (HTTPStatus.UNPROCESSABLE_ENTITY,)),
        Route("GET", _ONE, show_api_key, Key),
        Route("PATCH", _ONE, rename_api_key, Key),
        Route("POST", f"{_ONE}/disable", disable_api_key, Key, (HTTPStatus.CONFLICT,)),
        Route("POST", f"{_ONE}/enable", enable_api_key, Key, (HTTPStatus.CONFLICT,)),
        Route("DELETE", _ONE, delete_api_key, Deleted, (HTTPStatus.CONFLICT,)),
    ],
)
