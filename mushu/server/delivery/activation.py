"""The one moment in which a key begins to work, and the one it follows begins to end: T4, wherever it happens.

In the run that delivers the key, in recovery, on a client's proof, and for a key that is shown.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from mushu.server.audit import Actor
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.delivery import ledger
from mushu.server.delivery.ledger import UriAt
from mushu.server.keys.locking import lock_key
from mushu.server.keys.models import ApiKey, Rotation
from mushu.server.keys.rotation import find_rotation_to
from mushu.server.keys.service import change_state, get_key
from mushu.server.keys.states import ACTIVATE, DEAD, END_RETIREMENT, RETIRE, AtDeadline


def activate(session: AnySession, clock: Clock, actor: Actor, key_id: str, proven: Sequence[UriAt] = ()) -> ApiKey:
    """Make a pending key active; where it succeeds another, that one begins to retire, and is no more where this is.

    All or nothing: what this raises must end the caller's transaction.

    Args:
        proven: where the key was proven to be; nowhere for a key that is shown.

    Raises:
        KeyNotFound: there is no such key.
        WrongState: the key is not pending, or the one it should succeed was disabled or is being succeeded already.
    """
    rotation = find_rotation_to(session, key_id)
    if rotation is not None:
        lock_key(session, rotation.predecessor_id)  # the older one first
    key = change_state(session, clock, actor, key_id, ACTIVATE)
    if key.rotate_every is not None:
        key.rotate_at = clock() + timedelta(seconds=key.rotate_every)
    if rotation is not None:
        _hand_over(session, clock, actor, rotation)
        ledger.replaced(session, rotation.predecessor_id, proven)
        if get_key(session, rotation.predecessor_id).stored_state in DEAD:  # other destinations may still hold it
            ledger.mark_for_cleanup(session, rotation.predecessor_id)
    return key


def _hand_over(session: AnySession, clock: Clock, actor: Actor, rotation: Rotation) -> None:
    now = clock()
    rotation.handed_over_at = now
    predecessor = get_key(session, rotation.predecessor_id)
    predecessor.rotate_at = None
    if predecessor.stored_state in DEAD:  # deleted while the new key was on its way: as if it had been deleted later
        rotation.settled_at = now
        return
    change_state(session, clock, actor, predecessor.id, RETIRE)
    predecessor.retires_at = _retires_at(rotation, now)
    if rotation.at_once:
        change_state(session, clock, actor, predecessor.id, END_RETIREMENT)
        rotation.settled_at = now


def _retires_at(rotation: Rotation, now: datetime) -> datetime | None:
    if rotation.at_once:
        return now
    return rotation.deadline_at if rotation.at_deadline == AtDeadline.REVOKE else None
