"""Issue a key: `POST /orgs/…/api-keys`, `flask keys create`, the first key, and a tenant's."""

from collections.abc import Sequence

from mushu.secret import Secret
from mushu.server.db import reading, writing
from mushu.server.delivery.activation import activate
from mushu.server.delivery.preflight import LedgerTarget
from mushu.server.keys.minting import KeyRequest, mint_key
from mushu.server.keys.models import ApiKey
from mushu.server.lifecycle.confirm import CONFIRM_WITHIN
from mushu.server.lifecycle.context import Context, DeliveryChoice, DeliveryMode, Minted
from mushu.server.lifecycle.delete import follow_journal
from mushu.server.lifecycle.repeated_request import RACED, find_earlier, find_faster
from mushu.server.orgs.service import get_org


def issue(context: Context, request: KeyRequest, choice: DeliveryChoice) -> Minted:
    """Mint a key, unless a request with the same mark did, and deliver it as chosen; owns its transactions.

    Returns:
        The key: active where it was delivered or is shown, pending where a client is to deliver it.

    Raises:
        OrgNotFound: the organization is gone; nothing was minted.
        Invalid: the name, the expiry, the interval or a destination is not usable; nothing was minted.
        DestinationNotFound: a destination is named that the organization has not.
        and what `find_earlier`, `Courier.check`, `Courier.register` and `Courier.bring` raise.
    """
    follow_journal(context)  # 1
    earlier = find_earlier(context, request.idempotency)  # 2
    if earlier is not None:
        return earlier
    try:
        targets = _checked_targets(context, request, choice) if choice.mode is DeliveryMode.SERVER else []  # 3, 4
        key, secret = _mint(context, request, choice.mode, targets)  # 5
        if choice.mode is not DeliveryMode.SERVER:
            return Minted(key, secret)  # 7
        key = context.courier.bring(key.id, secret, targets)  # 6
    except RACED as error:
        faster = find_faster(context, request.idempotency, error)  # 2, again
        if faster is None:
            raise
        return faster
    return Minted(key, delivered_to=[target.uri for target in targets])  # 7


def start(context: Context, key: ApiKey, mode: DeliveryMode, targets: Sequence[LedgerTarget]) -> ApiKey:
    """In T1, once the key is minted: begin its way as chosen. One that is shown is active at once."""
    if mode is DeliveryMode.CLIENT:
        key.confirm_by = key.created_at + CONFIRM_WITHIN
    elif mode is DeliveryMode.RESPONSE:
        return activate(context.session, context.clock, context.actor, key.id)
    else:
        context.courier.register(key, targets)
    return key


def _checked_targets(context: Context, request: KeyRequest, choice: DeliveryChoice) -> list[LedgerTarget]:
    with reading(context.session):
        get_org(context.session, request.org_id)
        uris = choice.resolve(context.session, request.org_id)
    return context.courier.check(request.environment, uris, force=choice.force)


def _mint(
    context: Context, request: KeyRequest, mode: DeliveryMode, targets: Sequence[LedgerTarget]
) -> tuple[ApiKey, Secret]:
    """T1: the key, pending, and its deliveries."""
    session = context.session
    with writing(session):
        context.courier.claim(request.environment, targets)
        get_org(session, request.org_id)  # it may have been deleted since phase 3
        key, secret = mint_key(session, context.clock, context.actor, request)
        return start(context, key, mode, targets), secret
