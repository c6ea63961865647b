"""Rotate a key: `POST …/api-keys/<id>/rotate`, `flask keys rotate`, and what keeping house does again.

A successor is minted and delivered over the old value, or shown, or handed to a client. The key itself works on until
the successor was seen in use (`keys/rotation.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server.db import reading, writing
from mushu.server.delivery import ledger
from mushu.server.delivery.models import Delivery
from mushu.server.delivery.preflight import LedgerTarget
from mushu.server.errors import Invalid
from mushu.server.keys.locking import lock_key
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import RotationRequest, ancestors, begin, get_key_to_rotate
from mushu.server.lifecycle.context import Context, DeliveryChoice, DeliveryMode, Minted
from mushu.server.lifecycle.delete import follow_journal
from mushu.server.lifecycle.issue import start
from mushu.server.lifecycle.repeated_request import RACED, find_earlier, find_faster


@dataclass(frozen=True, slots=True)
class _Plan:
    """What phase 3 found out."""

    mode: DeliveryMode
    environment: Environment
    uris: Sequence[str]
    #: The ids of the key and of those that it followed: their values may be overwritten.
    lineage: Sequence[str]
    #: Where the key is, if no other destinations are named.
    places: Sequence[Delivery]


def rotate(context: Context, request: RotationRequest, choice: DeliveryChoice) -> Minted:
    """Mint a successor, unless a request with the same mark did, and deliver it as chosen; owns its transactions.

    Returns:
        The successor: active where it was delivered or is shown, and then the key is retiring; pending where a client
        is to deliver it, and then the key works on as before.

    Raises:
        KeyNotFound, WrongState: there is no such key, or it is not active; nothing was minted.
        Invalid: the key is in no destination of this server, and none is named; or the terms cannot be kept.
        DestinationNotFound: a destination is named that the organization has not.
        and what `find_earlier`, `Courier.check`, `Courier.register` and `Courier.bring` raise.
    """
    follow_journal(context)  # 1
    earlier = find_earlier(context, request.idempotency)  # 2
    if earlier is not None:
        return earlier
    try:
        plan = _look(context, request, choice)  # 3
        targets: list[LedgerTarget] = []
        if plan.mode is DeliveryMode.SERVER:  # 4
            targets = context.courier.check(plan.environment, plan.uris, plan.lineage, plan.places, force=choice.force)
        successor, secret = _mint(context, request, plan, targets)  # 5
        if plan.mode is not DeliveryMode.SERVER:
            return Minted(successor, secret, replaces=request.key_id)  # 7
        successor = context.courier.bring(successor.id, secret, targets)  # 6
    except RACED as error:
        faster = find_faster(context, request.idempotency, error)  # 2, again
        if faster is None:
            raise
        return faster
    return Minted(successor, delivered_to=[target.uri for target in targets], replaces=request.key_id)  # 7


def _look(context: Context, request: RotationRequest, choice: DeliveryChoice) -> _Plan:
    session = context.session
    with reading(session):
        uris = choice.resolve(session, context.org_id or "")
        key = context.get_key(request.key_id)
        get_key_to_rotate(session, context.clock(), key.id)  # before its destinations: what is over has none
        deliveries = ledger.list_deliveries(session, [key.id])
        lineage = [key.id, *ancestors(session, key.id)]
    places = ledger.on_server(deliveries)
    mode = choice.mode
    if mode is DeliveryMode.AS_BEFORE:
        if deliveries and not places:
            raise Invalid(
                f"{key.id} was delivered by a client. Send `delivery: client` to do so again, or `delivery: response` "
                "to be told the new key.",
                field="delivery",
            )
        mode = DeliveryMode.SERVER if places else DeliveryMode.RESPONSE
    if mode is DeliveryMode.SERVER and not (uris or places):
        raise Invalid(
            f"{key.id} is in no destination of this server. Name one with --to, or ask for the new key itself with "
            "--show-once.",
            field="to",
        )
    in_place = [] if uris else places
    return _Plan(mode, Environment(key.environment), uris or [found.uri for found in places], lineage, in_place)


def _mint(
    context: Context, request: RotationRequest, plan: _Plan, targets: Sequence[LedgerTarget]
) -> tuple[ApiKey, Secret]:
    """T1: the successor and its deliveries, pending; one that is shown is active at once, and the key retiring."""
    session, clock, actor = context.session, context.clock, context.actor
    with writing(session):
        lock_key(
            session, request.key_id
        )  # before its places; and a change of its limits waits, and finds the successor
        context.courier.claim(plan.environment, targets)
        successor, secret = begin(session, clock, actor, request.key_id, request.terms, request.idempotency)
        return start(context, successor, plan.mode, targets), secret
