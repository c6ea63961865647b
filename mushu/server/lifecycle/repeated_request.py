"""One key for each `Idempotency-Key`: a client that does not know whether its request arrived asks again.

What the first request minted is found by its mark, and judged:

    given up before it worked     as if nothing had been minted: this request mints
    pending, the server's         settled as after a crash; then one of the others, or the request is told to wait
    pending, a client's           its plaintext was in the answer, and is nowhere else
    it works, or did              where the server delivered it, the same is answered again; else as the one above

Two that arrive at the same moment are told apart by the index on the mark: one mints, the other finds its key.
"""

import math
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from sqlalchemy.exc import IntegrityError

from mushu.server.clock import rfc3339
from mushu.server.db import reading
from mushu.server.delivery import ledger
from mushu.server.delivery.reconciler import Finding, any_unreachable
from mushu.server.errors import AlreadyCreated, DeliveryUndecided, InProgress, MushuError
from mushu.server.idempotency import IdempotencyMark
from mushu.server.keys.minting import find_minted
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import find_rotation_to
from mushu.server.keys.states import DEAD, State
from mushu.server.lifecycle.context import Context, Minted

#: How soon it is worth asking again after a destination that does not answer.
_LOOK_AGAIN: Final = timedelta(seconds=30)
#: What a verb fails with where another request with the same mark was faster: that one's key is in its way.
RACED: Final = (MushuError, IntegrityError)


def find_earlier(context: Context, mark: IdempotencyMark | None) -> Minted | None:
    """Phase 2: return what an earlier request with this mark was answered; None if it minted nothing, or has no mark.

    Raises:
        IdempotencyMismatch: the mark is that of another request.
        AlreadyCreated: the answer then held the key, which cannot be shown again; or the key was deleted since.
        InProgress: that request is being worked on, or was cut off a moment ago.
        DeliveryUndecided: it was cut off, and a destination that would tell does not answer.
    """
    key = _find(context, mark)
    if key is not None and key.stored_state == State.PENDING:
        findings = context.reconciler.settle_key(key)
        key = _find(context, mark)
        if key is not None and key.stored_state == State.PENDING and key.confirm_by is None:
            raise _to_wait_for(context, key, findings)
    return _told(context, key) if key is not None else None


def find_faster(context: Context, mark: IdempotencyMark | None, failure: MushuError | IntegrityError) -> Minted | None:
    """Phase 2 again, for a verb that failed later: return what a faster request with this mark was answered.

    Returns:
        None where no other request is to blame; the failure is raised then. It must not be kept in a variable: it
        keeps the frames that it came through, and with them the plaintext and rows that the session takes for fresh.

    Raises:
        what `find_earlier` raises.
    """
    undecided = isinstance(failure, DeliveryUndecided)  # it is of our own attempt
    return None if undecided else find_earlier(context, mark)


def _find(context: Context, mark: IdempotencyMark | None) -> ApiKey | None:
    if mark is None:
        return None
    with reading(context.session):
        return find_minted(context.session, mark)


def _to_wait_for(context: Context, key: ApiKey, findings: Iterable[Finding]) -> InProgress | DeliveryUndecided:
    """Return what to say of a request whose key is on its way to its destinations."""
    with reading(context.session):
        until = max(delivery.lease_until for delivery in ledger.list_deliveries(context.session, [key.id]))
    left = until - context.clock()
    if any_unreachable(findings):
        return DeliveryUndecided(
            f"It is not known whether {key.id}, which this request created before, arrived; it is not active. Ask "
            f"again with the same Idempotency-Key. Where it cannot be found out, deleting {key.id} ends it.",
            key_id=key.id,
            retry_after=_seconds(max(left, _LOOK_AGAIN)),
        )
    return InProgress(
        f"{key.id}, which this request created before, is being delivered. Ask again shortly, with the same "
        f"Idempotency-Key; if the delivery was cut off, after {rfc3339(until)}.",
        key_id=key.id,
        retry_after=_seconds(left),
    )


def _told(context: Context, key: ApiKey) -> Minted:
    """Return the answer that the first request was given.

    Raises:
        AlreadyCreated: it cannot be given again.
    """
    with reading(context.session):
        places = [found.uri for found in ledger.list_deliveries(context.session, [key.id]) if not found.on_client]
        rotation = find_rotation_to(context.session, key.id)
    if key.state(context.clock()) in DEAD:
        raise AlreadyCreated(
            f"{key.id} was created by this request before, and is over since. For another key, ask with a new "
            "Idempotency-Key.",
            key_id=key.id,
        )
    if not places:
        raise AlreadyCreated(_shown_once(key, is_successor=rotation is not None), key_id=key.id)
    return Minted(key, delivered_to=places, replaces=rotation.predecessor_id if rotation is not None else None)


def _shown_once(key: ApiKey, *, is_successor: bool) -> str:
    """Say what to do about a key that only the first answer held."""
    way = f"delete {key.id} and create another with a new Idempotency-Key"
    if is_successor and key.stored_state == State.PENDING:
        way = f"delete {key.id} and rotate again with a new Idempotency-Key"
    elif is_successor:  # without it, the key that made way for it would retire in favour of nothing
        way = f"rotate {key.id} in turn, with a new Idempotency-Key"
    return (
        f"{key.id} was created by this request before. The answer then held the key, which is shown once. If that "
        f"answer was lost, {way}."
    )


def _seconds(duration: timedelta) -> int:
    return max(1, math.ceil(duration.total_seconds()))
