"""What the endpoints of API keys take and answer."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

from mushu.server import answers
from mushu.server.clock import parse_duration
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.delivery.named_destinations import names_of
from mushu.server.errors import Invalid
from mushu.server.idempotency import IdempotencyMark
from mushu.server.keys import parse_networks, parse_scopes
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import Terms
from mushu.server.keys.states import AtDeadline
from mushu.server.lifecycle.confirm import Proof
from mushu.server.lifecycle.context import DeliveryChoice, DeliveryMode, Minted
from mushu.server.rate_limits import parse_limits
from mushu.server.web.api.models import Body, LimitsChange, LimitTexts, Moment, NetworkTexts, OrgPath, Text, optional
from mushu.server.web.guard import current_environment

_SHA_256: Final = r"^[0-9A-Fa-f]{64}$"
#: What a delivery by the server can end with.
DELIVERY_REFUSALS: Final = (HTTPStatus.CONFLICT, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE)
MOST_DESTINATIONS: Final = 20
_MODES: Final[dict[str | None, DeliveryMode]] = {
    "client": DeliveryMode.CLIENT,
    "response": DeliveryMode.RESPONSE,
}


class KeyPath(OrgPath):
    key_id: str


class NewKey(Body):
    """`delivery: client` asks for a key that is pending until `…/delivered` proves where the client put it.

    `deliver_to` names destinations that an operator has set up; then the answer holds no key.
    """

    name: Text
    scopes: Annotated[list[Text], Field(max_length=10)] | None = None
    delivery: Literal["client"] | None = None
    deliver_to: list[Text] | None = Field(default=None, max_length=MOST_DESTINATIONS)
    rotate_every: Text | None = None
    expires_at: Moment | None = None
    limits: LimitTexts | None = None
    networks: NetworkTexts | None = None

    @property
    def choice(self) -> DeliveryChoice:
        return _choice(self.delivery, self.deliver_to, DeliveryMode.RESPONSE)

    def request(self, org_id: str, mark: IdempotencyMark | None) -> KeyRequest:
        """Return what is asked for in an organization, in the environment of the request."""
        return KeyRequest(
            org_id=org_id,
            name=self.name,
            scopes=parse_scopes(self.scopes) if self.scopes is not None else None,
            environment=current_environment(),
            expires_at=self.expires_at,
            rotate_every=parse_duration(self.rotate_every, "rotate_every") if self.rotate_every is not None else None,
            limits=parse_limits(self.limits or ()),
            networks=parse_networks(self.networks or ()),
            idempotency=mark,
        )


class KeyName(Body):
    name: Text


class KeyRestrictions(LimitsChange):
    """How often and from where a key may be used; what is left out stays, and null or an empty list takes it back."""

    networks: NetworkTexts | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """Return what is to change, as `lifecycle.change.restrict` takes it."""
        networks = parse_networks(self.networks or ()) if "networks" in self.model_fields_set else None
        return {"limits": self.new_limits, "networks": networks}


class CreatedKey(BaseModel):
    """A new key; `key` is in this answer only, and never again. One that was delivered is in no answer."""

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
    limits: list[str] | None = optional()
    networks: list[str] | None = optional()


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
    limits: list[str] | None = optional()
    networks: list[str] | None = optional()
    first_used_at: str | None = optional()
    last_used_at: str | None = optional()
    last_used_from: str | None = optional()


class UsageBar(BaseModel):
    """The requests of one hour or one day."""

    start: str
    requests: int
    denials: int


class UsageAddress(BaseModel):
    """An address that a key was used from."""

    address: str
    last_used_at: str


class UsageReason(BaseModel):
    """How often a key was refused for one reason."""

    reason: str
    denials: int
    last_denied_at: str
    last_denied_from: str


class KeyUsage(BaseModel):
    """The usage of a key: in all, by hour and by day, and what is unusual about it."""

    key_id: str
    requests: int
    denials: int
    first_used_at: str | None = optional()
    last_used_at: str | None = optional()
    last_used_from: str | None = optional()
    last_denied_at: str | None = optional()
    unusual: list[str]
    addresses: list[UsageAddress]
    reasons: list[UsageReason]
    hours: list[UsageBar]
    days: list[UsageBar]


class KeyRotation(Body):
    """The old key works until `settle` after the first use of the new one, which is waited for until `deadline`.

    The new key goes where the old one is, or to the destinations in `deliver_to`. `delivery: client` leaves it to the
    caller to put it somewhere and prove it; `delivery: response` answers the key itself.
    """

    settle: Text = "1h"
    deadline: Text = "7d"
    at_deadline: Literal["keep", "revoke"] = "keep"
    now: bool = False
    delivery: Literal["client", "response"] | None = None
    deliver_to: list[Text] | None = Field(default=None, max_length=MOST_DESTINATIONS)

    @property
    def choice(self) -> DeliveryChoice:
        return _choice(self.delivery, self.deliver_to, DeliveryMode.AS_BEFORE)

    @property
    def terms(self) -> Terms:
        return Terms(
            settle=parse_duration(self.settle, "settle"),
            deadline=parse_duration(self.deadline, "deadline"),
            at_deadline=AtDeadline(self.at_deadline),
            at_once=self.now,
        )


class KeyExtension(Body):
    """Until when the old key of a rotation works; a request that is sent again changes nothing more."""

    retires_at: Moment


class KeyDelivery(BaseModel):
    """One line of the ledger."""

    uri: str
    state: str
    by: str
    delivered_by: str
    location: str | None = optional()
    destination: str | None = optional()
    version: str | None = optional()
    started_at: str
    delivered_at: str | None = optional()
    verified_at: str | None = optional()
    checked_at: str | None = optional()
    condition: str | None = optional()
    removed_at: str | None = optional()
    error: str | None = optional()


class KeyDeliveries(BaseModel):
    deliveries: list[KeyDelivery]


class ClientDelivery(Body):
    place: Text
    digest: Annotated[str, Field(max_length=64)]
    location: Text | None = None


class ClientDeliveries(Body):
    deliveries: list[ClientDelivery] = Field(max_length=50)

    @property
    def proofs(self) -> list[Proof]:
        return [Proof(delivery.place, delivery.digest, delivery.location or "") for delivery in self.deliveries]


class KeyDigest(Body):
    digest: Annotated[str, Field(pattern=_SHA_256)]


def key_answer(key: ApiKey) -> Key:
    """Answer a key; owns its transaction."""
    with reading(db.session):
        about = answers.overviews(db.session, [key.id])[key.id]
    return Key(**answers.shown_key(key, get_core().clock(), about))


def minted_answer(minted: Minted, names: Sequence[str] | None = None) -> CreatedKey:
    """Answer a new key.

    Args:
        names: the destinations that the body names, in whose order they are answered.
    """
    places = list(minted.delivered_to)
    if names and len(names) > 1:
        with reading(db.session):
            called = names_of(db.session, places, minted.key.org_id)
        places.sort(key=lambda uri: names.index(called[uri]) if called.get(uri) in names else len(names))
    return CreatedKey(**answers.created_key(minted.key, minted.secret, places, minted.replaces))


def _choice(delivery: str | None, names: Sequence[str] | None, otherwise: DeliveryMode) -> DeliveryChoice:
    """Return who delivers a key, as a body says it.

    Raises:
        Invalid: it says it in two ways.
    """
    if names is None:
        return DeliveryChoice(mode=_MODES.get(delivery, otherwise))
    if delivery is not None:
        raise Invalid("Ask for a delivery by the server (deliver_to) or by you (delivery), not both.", field="delivery")
    return DeliveryChoice(mode=DeliveryMode.SERVER, names=names)
