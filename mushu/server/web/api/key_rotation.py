"""Rotating a key over HTTP, and the ledger of where it was put."""

from typing import Literal

from pydantic import BaseModel, Field

from mushu.server import answers
from mushu.server.clock import parse_duration
from mushu.server.core import courier_for, db, get_core
from mushu.server.db import reading, writing
from mushu.server.delivery import ledger
from mushu.server.delivery.activation import issue_successor
from mushu.server.delivery.client import rotate_for_client
from mushu.server.delivery.named import names_of
from mushu.server.delivery.once import Minted
from mushu.server.delivery.rotation import Rotator
from mushu.server.errors import Invalid
from mushu.server.idempotency import Once
from mushu.server.keys.models import AtDeadline
from mushu.server.keys.rotation import Terms, get_key_to_rotate
from mushu.server.keys.scopes import Scope
from mushu.server.keys.service import get_key_of
from mushu.server.web.api.keys import (
    DELIVERY_REFUSALS,
    MOST_DESTINATIONS,
    CreatedKey,
    KeyPath,
    answer_minted,
    named_uris,
)
from mushu.server.web.api.models import Body, Text, optional
from mushu.server.web.guard import current_environment, current_principal, requires
from mushu.server.web.idempotency import IdempotencyHeader, once
from mushu.server.web.routes import Resource, Route


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
    def terms(self) -> Terms:
        return Terms(
            settle=parse_duration(self.settle, "settle"),
            deadline=parse_duration(self.deadline, "deadline"),
            at_deadline=AtDeadline(self.at_deadline),
            at_once=self.now,
        )


class KeyDelivery(BaseModel):
    """One line of the ledger."""

    uri: str
    state: str
    by: str
    delivered_by: str
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


@requires(Scope.ADMIN)
def rotate_api_key(header: IdempotencyHeader, path: KeyPath, body: KeyRotation) -> CreatedKey:
    """Put a new key in the place of one, which works on until the new one was seen in use."""
    mark = once(header, body)
    return answer_minted(mark, lambda: _rotate(path, body, mark), body.deliver_to or ())


def _rotate(path: KeyPath, body: KeyRotation, mark: Once | None) -> Minted:
    uris = named_uris(path.org_id, body.delivery, body.deliver_to) if body.deliver_to is not None else []
    with reading(db.session):
        key = get_key_of(db.session, path.org_id, current_environment(), path.key_id)
        get_key_to_rotate(db.session, get_core().clock(), key.id)  # before its places: what is over lies nowhere
        places = ledger.list_deliveries(db.session, [key.id])
    if uris or (body.delivery is None and ledger.on_server(places)):
        rotator = Rotator(courier_for(current_principal().actor))
        successor, delivered = rotator.rotate(key.id, body.terms, uris, once=mark)
        return Minted(successor, delivered_to=delivered, replaces=key.id)
    if body.delivery is None and places:
        raise Invalid(
            f"{key.id} was delivered by a client. Send `delivery: client` to do so again, or `delivery: response` to "
            "be told the new key.",
            field="delivery",
        )
    mint = rotate_for_client if body.delivery == "client" else issue_successor
    with writing(db.session):  # its plaintext goes to the caller
        minted = mint(db.session, get_core().clock, current_principal().actor, key.id, body.terms, mark)
    return Minted(*minted, replaces=key.id)


@requires(Scope.ADMIN)
def list_api_key_deliveries(path: KeyPath) -> KeyDeliveries:
    """Show where a key was put, at which version, by whom, and what was found there since."""
    with reading(db.session):
        key = get_key_of(db.session, path.org_id, current_environment(), path.key_id, with_deleted=True)
        found = ledger.list_deliveries(db.session, [key.id])
        names = names_of(db.session, [delivery.uri for delivery in found], path.org_id)
    lines = [answers.delivery(delivery, names.get(delivery.uri)) for delivery in found]
    return KeyDeliveries(deliveries=[KeyDelivery(**line) for line in lines])


_ONE = "/orgs/<org_id>/api-keys/<key_id>"

RESOURCE = Resource(
    "api-key rotation",
    [
        Route("POST", f"{_ONE}/rotate", rotate_api_key, CreatedKey, DELIVERY_REFUSALS),
        Route("GET", f"{_ONE}/deliveries", list_api_key_deliveries, KeyDeliveries),
    ],
)
