"""Keep house: do what time and crashes leave to do. And rotate the keys that are due.

Housekeeping, `flask keys reconcile` and the start of a server call `keep_house`; a timer `flask keys rotate --due`.

A rotation that was cut off between two destinations leaves a dead key at the first. What stood there cannot be
put back, for no plaintext is kept. So the key is rotated again: another successor goes to both, while the key works on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mushu.batching import batches
from mushu.destination import DestinationError, Holding
from mushu.destination.target import DeliveredKey, open_safely
from mushu.server.clock import rfc3339
from mushu.server.db import AnySession, reading, writing
from mushu.server.delivery import ledger
from mushu.server.delivery.models import Delivery
from mushu.server.delivery.named_destinations import any_forgettable, forget_settings
from mushu.server.delivery.reconciler import Finding, Verdict, verdict_of
from mushu.server.errors import (
    AlreadyCreated,
    DeliveryFailed,
    DeliveryUndecided,
    DestinationHeld,
    InProgress,
    MushuError,
    WrongState,
)
from mushu.server.idempotency import IdempotencyMark
from mushu.server.keys import retirement, rotation
from mushu.server.keys.locking import lock_key
from mushu.server.keys.minting import mark_of
from mushu.server.keys.models import ApiKey, Rotation
from mushu.server.keys.rotation import RotationRequest, Terms, list_stalled
from mushu.server.keys.service import change_state, find_key_by_digest, get_key
from mushu.server.keys.states import DEAD, END_RETIREMENT, State
from mushu.server.lifecycle.context import Context, DeliveryChoice, DeliveryMode, Minted
from mushu.server.lifecycle.delete import follow_journal
from mushu.server.lifecycle.rotate import rotate
from mushu.server.usage import KeyUse, uses_of

#: Where the key is now.
_IN_PLACE: Final = DeliveryChoice(mode=DeliveryMode.SERVER)
#: Why a rotation cannot be done again at the moment.
_NOT_NOW: Final = (AlreadyCreated, DeliveryFailed, DeliveryUndecided, DestinationHeld, InProgress, WrongState)


@dataclass(frozen=True, slots=True)
class DueRotation:
    """How it ended for one key that was due: its successor, or why there is none."""

    key_id: str
    name: str
    successor: Minted | None
    #: Why there is none; the sentence only, for an error keeps what it met on its way, the plaintext too.
    refusal: str = ""
    #: A value that is not Mushu's is in the way, and may be overwritten on purpose.
    overwritable: bool = False


@dataclass(frozen=True, slots=True)
class Stalled:
    """An old key that lives on past the deadline of its rotation; `detail` is a sentence for the operator."""

    key_id: str
    key_name: str
    detail: str


@dataclass(frozen=True, slots=True)
class DueReport:
    """What was done for the keys that were due, before that, and what else somebody should look at."""

    findings: Sequence[Finding]
    rotations: Sequence[DueRotation]
    stalled: Sequence[Stalled]


def keep_house(context: Context) -> list[Finding]:
    """Do all that time and crashes have left to do, and say what was done; safe at any time, also several at once.

    Where nothing is due it only reads: the lock of a writer, which others wait for, is taken for what is to be done.
    """
    return list(keep_house_by_key(context))


def keep_house_by_key(context: Context) -> Iterator[Finding]:
    """Do the same, and say of each key what was done as soon as it is; ask for all of it, or the rest stays undone."""
    yield from follow_journal(context)
    yield from context.reconciler.settle_each()
    yield from _resume_all(context)
    yield from _retire_all(context)
    with reading(context.session):
        forgettable = any_forgettable(context.session, context.clock)
    if forgettable:  # of a deleted organization, say, about which nobody gives a command any more
        with writing(context.session):
            forget_settings(context.session, context.clock)


def rotate_due(context: Context, terms: Terms, org_id: str | None = None) -> DueReport:
    """Rotate every key whose interval is over, in its place; one that cannot be rotated keeps no other back.

    Keep house before, unless one organization is named: that is done for all, and who names one means no other. The
    journal is followed all the same: a key that was deleted must have no successor.
    """
    findings = keep_house(context) if org_id is None else follow_journal(context)
    with reading(context.session):
        due = rotation.keys_due(context.session, context.clock(), org_id)
    rotations = [_rotate_one(context, key_id, name, terms) for key_id, name in due]
    with reading(context.session):
        stalled = stalled_rotations(context.session, context.clock(), org_id)
    return DueReport(findings, rotations, stalled)


def _rotate_one(context: Context, key_id: str, name: str, terms: Terms) -> DueRotation:
    try:
        return DueRotation(key_id, name, rotate(context, RotationRequest(key_id=key_id, terms=terms), _IN_PLACE))
    except MushuError as error:  # the others are due all the same
        return DueRotation(key_id, name, None, error.detail, error.overwritable)


def _resume_all(context: Context) -> Iterator[Finding]:
    """Do again what was cut off, where it left a destination without a key that works; and say what was done."""
    with reading(context.session):
        broken = rotation.list_broken_off(context.session)
    # One that was done again and failed again stands for those before it, or they would double with each look.
    latest = dict(broken)
    for predecessor_id, successor_id in broken:
        if successor_id != latest[predecessor_id]:
            _settle(context, successor_id)
    for successor_id in latest.values():
        finding = _resume(context, successor_id)
        if finding is not None:
            yield finding


def _resume(context: Context, successor_id: str) -> Finding | None:
    """Look where the old key should be, and rotate again unless it is there."""
    now = context.clock()
    with reading(context.session):
        broken = rotation.get_rotation_to(context.session, successor_id)
        key = get_key(context.session, broken.predecessor_id)
        places = ledger.places_of(context.session, key.id)
        attempts = ledger.list_deliveries(context.session, [successor_id])
        again_after = rotation.again_after(context.session, broken)
        mark = mark_of(get_key(context.session, successor_id))
    if key.state(now) is not State.ACTIVE:
        _settle(context, successor_id)
        return None
    lease = max((delivery.lease_until for delivery in attempts), default=now)
    if lease > now:  # the process that failed may be putting it back at this moment
        return Finding(key.id, Verdict.UNDER_WAY, f"Its rotation may be ending; run again after {rfc3339(lease)}.")
    try:
        holdings = [_look(context, delivery, key.digest) for delivery in places]
    except DestinationError as error:
        return Finding(key.id, verdict_of(error), f"Its rotation was cut off. {error}")
    if all(holding.digest == key.digest for holding in holdings):
        _settle(context, successor_id)
        return None
    if any(_is_foreign(context, holding, key) for holding in holdings):
        detail = f"Its rotation was cut off, and a foreign value is there. See `flask keys check {key.id}`."
        _settle(context, successor_id)
        return Finding(key.id, Verdict.DRIFTED, detail)
    if again_after > now:
        detail = f"Its rotation was cut off, and failed again. It will be tried after {rfc3339(again_after)}; "
        return Finding(key.id, Verdict.UNREACHABLE, f"{detail}`flask keys rotate {key.id}` does it now.")
    return _again(context, key.id, successor_id, Terms.of(broken), mark)


def _again(context: Context, key_id: str, successor_id: str, terms: Terms, mark: IdempotencyMark | None) -> Finding:
    """Rotate again, in the name of the request that was cut off: where it is repeated, it is told the new key."""
    try:
        request = RotationRequest(key_id=key_id, terms=terms, idempotency=mark)
        successor = rotate(context, request, _IN_PLACE).key
    except _NOT_NOW as error:
        return Finding(key_id, Verdict.UNREACHABLE, f"Its rotation was cut off, and cannot be done again: {error}")
    _settle(context, successor_id)
    return Finding(key_id, Verdict.ROTATED, f"Its rotation was cut off and done again: {successor.id} took over.")


def _is_foreign(context: Context, holding: Holding, key: ApiKey) -> bool:
    if holding.digest in (None, key.digest):
        return False
    with reading(context.session):
        holder = find_key_by_digest(context.session, holding.digest or "")
    return holder is None or holder.stored_state not in DEAD


def _settle(context: Context, successor_id: str) -> None:
    with writing(context.session):
        rotation.settle(context.session, context.clock(), successor_id)


def _retire_all(context: Context) -> Iterator[Finding]:
    """End the keys whose successors were seen in use long enough ago, and take their values away."""
    with reading(context.session):
        key_ids = retirement.keys_to_retire(context.session, context.clock())
    for key_id in key_ids:
        with writing(context.session):
            key = lock_key(context.session, key_id)
            if key.stored_state != State.RETIRING or key.state(context.clock()) is not State.REVOKED:
                continue  # someone was faster, or has given it more time
            change_state(context.session, context.clock, context.actor, key_id, END_RETIREMENT)
            ledger.mark_for_cleanup(context.session, key_id)
        context.reconciler.clean_up(key_id)
        yield Finding(key_id, Verdict.RETIRED, f"{key.name}: its successor is in use; it is over.")
    with reading(context.session):
        ended = retirement.any_ended(context.session)
    if ended:
        with writing(context.session):
            retirement.settle_ended(context.session, context.clock())


def _look(context: Context, delivery: Delivery, digest: str) -> Holding:
    delivered = DeliveredKey(delivery.key_id, digest, delivery.where)
    return delivered.look_for(open_safely(context.open_destination, delivery.uri))[0]


def stalled_rotations(session: AnySession, now: datetime, org_id: str | None = None) -> list[Stalled]:
    """Return the rotations that have stalled, within the caller's transaction."""
    stalled: list[Stalled] = []
    for some in batches(list_stalled(session, now, org_id)):
        uses = uses_of(session, [found.predecessor_id for found in some])
        stalled += [_stalled(session, found, uses.get(found.predecessor_id)) for found in some]
    return stalled


def _stalled(session: AnySession, rotation: Rotation, use: KeyUse | None) -> Stalled:
    key = get_key(session, rotation.predecessor_id)
    still = f"it was last used {rfc3339(use.last_used_at)} from {use.last_used_from}" if use else "it was never used"
    since = rfc3339(rotation.handed_over_at) if rotation.handed_over_at else "never"
    detail = (
        f"{rotation.successor_id} took over {since} and was not used since; {still}. Let its user load the new key, "
        f"or end the old one with `flask keys delete {key.id}`."
    )
    return Stalled(key.id, key.name, detail)
