"""Confirm that a client delivered a key, on its own machine, with the same plugins: `POST …/api-keys/<id>/delivered`.

The server mints a pending key and gives its plaintext to the client, once. The client writes it, reads back what is
there, and reports the digests; only then is the key active. A client that dies leaves a key that opens nothing and
fails by itself when its time is over. The server never opens these destinations: their names are labels in the ledger.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mushu.destination import Location
from mushu.keyformat import CREDENTIAL_PATTERN
from mushu.server.clock import rfc3339
from mushu.server.db import writing
from mushu.server.delivery.activation import activate
from mushu.server.delivery.ledger import UriAt, open_delivery
from mushu.server.delivery.models import DeliveryState
from mushu.server.errors import Invalid, WrongState
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import State
from mushu.server.lifecycle.context import Context
from mushu.server.lifecycle.delete import follow_journal

#: Long enough for a person who has to unlock something, short enough to be forgotten soon.
CONFIRM_WITHIN: Final = timedelta(minutes=10)
_PLACE_LENGTH: Final = 1_000


@dataclass(frozen=True, slots=True)
class Proof:
    """What a client says it read back."""

    #: How the client calls the place: the canonical URI of its plugin.
    place: str
    #: SHA-256 of what it holds, in hexadecimal.
    digest: str
    #: Where that URI leads to on the client's machine; empty where the client does not tell.
    location: str = ""


def confirm(context: Context, key_id: str, proofs: Sequence[Proof]) -> ApiKey:
    """Activate a key that a client proved to have delivered. Said twice, it is done once. Owns its transaction.

    Raises:
        KeyNotFound: there is no such key.
        Invalid: no proof, a wrong digest, or a place that cannot be a label; the key stays pending.
        WrongState: the key is not a client's to deliver, or its time is over.
    """
    follow_journal(context)  # 1
    with writing(context.session):  # 5
        key = context.get_key(key_id)  # 3
        proven = _check(key, proofs, context.clock())
        if key.stored_state == State.ACTIVE:
            return key
        key = activate(context.session, context.clock, context.actor, key.id, proven)
        _register(context, key, proven)
    return key  # 7


def _check(key: ApiKey, proofs: Sequence[Proof], now: datetime) -> list[UriAt]:
    """Return the places that the proofs name, and where they are, if they prove what has to be proven."""
    if key.confirm_by is None:
        raise WrongState(f"{key.id} was not created with `delivery: client`.")
    if not proofs or not all(hmac.compare_digest(proof.digest.encode(), key.digest.encode()) for proof in proofs):
        raise Invalid(
            "Each digest must be the SHA-256 of what was read back, and be that of this key.", field="deliveries"
        )
    proven = [(_checked(proof.place), proof.location and _checked(proof.location)) for proof in proofs]
    if len({place for place, _ in proven}) < len(proven):
        raise Invalid("A place is named twice.", field="deliveries")
    if key.stored_state == State.PENDING and key.confirm_by <= now:
        raise WrongState(f"{key.id} had to be confirmed by {rfc3339(key.confirm_by)}. Create a new key.")
    return proven


def _register(context: Context, key: ApiKey, proven: Sequence[UriAt]) -> None:
    """Write into the ledger where the client put the key."""
    now = context.clock()
    for place, location in proven:
        delivery = open_delivery(key.id, place, Location(location), "", key.created_at, key.created_at, context.actor)
        delivery.on_client = True
        delivery.state, delivery.delivered_at, delivery.verified_at = DeliveryState.VERIFIED, now, now
        context.session.add(delivery)


def _checked(place: str) -> str:
    if not 0 < len(place) <= _PLACE_LENGTH or not place.isprintable() or CREDENTIAL_PATTERN.search(place):
        raise Invalid("A place is named by its URI, such as env:/home/ada/app/.env#MUSHU_API_KEY.", field="deliveries")
    return place
