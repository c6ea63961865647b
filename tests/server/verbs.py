"""Short forms of the verbs, for tests that need a key and are about something else."""

from collections.abc import Sequence
from datetime import datetime

from mushu.secret import Secret
from mushu.server.audit import Actor
from mushu.server.clock import Clock
from mushu.server.core import db
from mushu.server.db import AnySession
from mushu.server.delivery.activation import activate
from mushu.server.idempotency import IdempotencyMark
from mushu.server.keys.minting import KeyRequest, mint_key
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import RotationRequest, Terms
from mushu.server.lifecycle.context import Context, DeliveryChoice, DeliveryMode, Minted
from mushu.server.lifecycle.issue import issue
from mushu.server.lifecycle.rotate import rotate
from mushu.server.usage import Recorder

SHOWN = DeliveryChoice(mode=DeliveryMode.RESPONSE)
BY_CLIENT = DeliveryChoice(mode=DeliveryMode.CLIENT)


def by_server(*uris: str, force: bool = False) -> DeliveryChoice:
    return DeliveryChoice(mode=DeliveryMode.SERVER, uris=uris, force=force)


def use_key(key_id: str, at: datetime, address: str = "192.0.2.7") -> None:
    """Have one use of a key written down."""
    recorder = Recorder(db.engine, None, 0)
    recorder.saw(key_id, at, address)
    recorder.flush()


def issue_key(session: AnySession, clock: Clock, actor: Actor, request: KeyRequest) -> tuple[ApiKey, Secret]:
    """Mint an active key in the caller's transaction."""
    key, secret = mint_key(session, clock, actor, request)
    return activate(session, clock, actor, key.id), secret


def issue_to(
    context: Context, request: KeyRequest, uris: Sequence[str], *, force: bool = False
) -> tuple[ApiKey, Sequence[str]]:
    minted = issue(context, request, by_server(*uris, force=force))
    return minted.key, minted.delivered_to


def succeed(
    context: Context,
    key_id: str,
    terms: Terms,
    uris: Sequence[str] = (),
    *,
    force: bool = False,
    idempotency: IdempotencyMark | None = None,
) -> tuple[ApiKey, Sequence[str]]:
    """Rotate a key, and return its successor and where that is."""
    minted = rotate(
        context, RotationRequest(key_id=key_id, terms=terms, idempotency=idempotency), by_server(*uris, force=force)
    )
    return minted.key, minted.delivered_to


def show_successor(context: Context, key_id: str, terms: Terms, idempotency: IdempotencyMark | None = None) -> Minted:
    return rotate(context, RotationRequest(key_id=key_id, terms=terms, idempotency=idempotency), SHOWN)
