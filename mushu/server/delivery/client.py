"""Keys that a client delivers, on its own machine, with the same plugins.

The server mints a pending key and gives its plaintext to the client, once. The client writes it, reads back what is
there, and reports the digests; only then is the key active. A client that dies leaves a key that opens nothing and
fails by itself when its time is over. The server never opens these destinations: their names are labels in the ledger.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from mushu.keyformat import CREDENTIAL_PATTERN, public_id
from mushu.secret import Secret
from mushu.server.audit.service import Actor
from mushu.server.clock import Clock, rfc3339
from mushu.server.db import AnySession
from mushu.server.delivery.activation import activate
from mushu.server.delivery.models import Delivery, DeliveryState
from mushu.server.errors import Invalid, WrongState
from mushu.server.idempotency import Once
from mushu.server.keys.models import ApiKey
from mushu.server.keys.requests import KeyRequest
from mushu.server.keys.rotation import Terms, begin
from mushu.server.keys.service import mint_key
from mushu.server.keys.states import State

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


def mint_for_client(session: AnySession, clock: Clock, actor: Actor, request: KeyRequest) -> tuple[ApiKey, Secret]:
    """Create a pending key for a client to deliver.

    Raises:
        Invalid: the name or the expiry is not usable.
    """
    key, secret = mint_key(session, clock, actor, request)
    key.confirm_by = key.created_at + CONFIRM_WITHIN
    return key, secret


def rotate_for_client(
    session: AnySession, clock: Clock, actor: Actor, key_id: str, terms: Terms, once: Once | None = None
) -> tuple[ApiKey, Secret]:
    """Create a pending successor of a key for a client to deliver; the key works on until it did.

    Raises:
        KeyNotFound, WrongState: there is no such key, or it is not active.
        Invalid: the terms cannot be kept.
    """
    key, secret = begin(session, clock, actor, key_id, terms, once)
    key.confirm_by = key.created_at + CONFIRM_WITHIN
    return key, secret


def confirm(session: AnySession, clock: Clock, actor: Actor, key: ApiKey, proofs: Sequence[Proof]) -> ApiKey:
    """Activate a key that a client proved to have delivered. Said twice, it is done once.

    Raises:
        Invalid: no proof, a wrong digest, or a place that cannot be a label; the key stays pending.
        WrongState: the key is not a client's to deliver, or its time is over.
    """
    now = clock()
    if key.confirm_by is None:
        raise WrongState(f"{key.id} was not created with `delivery: client`.")
    if not proofs or not all(hmac.compare_digest(proof.digest.encode(), key.digest.encode()) for proof in proofs):
        raise Invalid(
            "Each digest must be the SHA-256 of what was read back, and be that of this key.", field="deliveries"
        )
    places = [_checked(proof.place) for proof in proofs]
    if len(set(places)) < len(places):
        raise Invalid("A place is named twice.", field="deliveries")
    if key.stored_state == State.ACTIVE:
        return key
    if key.stored_state == State.PENDING and key.confirm_by <= now:
        raise WrongState(f"{key.id} had to be confirmed by {rfc3339(key.confirm_by)}. Create a new key.")
    key = activate(session, clock, actor, key.id, places)
    for place in places:
        session.add(
            Delivery(
                id=public_id("dlv"),
                key_id=key.id,
                uri=place,
                state=DeliveryState.VERIFIED,
                attempt_id=public_id("att"),
                expected_version="",
                lease_until=key.created_at,
                created_at=key.created_at,
                delivered_at=now,
                verified_at=now,
                cleanup_due=False,
                on_client=True,
                delivered_by=str(actor),
            )
        )
    return key


def _checked(place: str) -> str:
    if not 0 < len(place) <= _PLACE_LENGTH or not place.isprintable() or CREDENTIAL_PATTERN.search(place):
        raise Invalid("A place is named by its URI, such as env:/home/ada/app/.env#MUSHU_API_KEY.", field="deliveries")
    return place
