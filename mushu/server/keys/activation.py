"""The one moment in which a key begins to open doors, and in which the one it follows begins to close."""

from datetime import datetime, timedelta

from mushu.secret import Secret
from mushu.server.audit.service import Actor
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.keys.models import ApiKey, AtDeadline, Rotation
from mushu.server.keys.requests import KeyRequest
from mushu.server.keys.service import change_state, get_key, mint_key
from mushu.server.keys.states import ACTIVATE, DEAD, END_RETIREMENT, RETIRE


def issue_key(session: AnySession, clock: Clock, actor: Actor, request: KeyRequest) -> tuple[ApiKey, Secret]:
    """Create a key that is active at once, to be shown to the caller this one time.

    Raises:
        Invalid: the name or the expiry is not usable.
    """
    key, secret = mint_key(session, clock, actor, request)
    return activate(session, clock, actor, key.id), secret


def activate(session: AnySession, clock: Clock, actor: Actor, key_id: str) -> ApiKey:
    """Make a pending key active; where it succeeds another, that one begins to retire.

    Both or neither: what this raises must end the caller's transaction.

    Raises:
        KeyNotFound: there is no such key.
        WrongState: the key is not pending, or the one it should succeed was disabled or is being succeeded already.
    """
    key = change_state(session, clock, actor, key_id, ACTIVATE)
    if key.rotate_every is not None:
        key.rotate_at = clock() + timedelta(seconds=key.rotate_every)
    rotation = session.get(Rotation, key_id, populate_existing=True)
    if rotation is not None:
        _hand_over(session, clock, actor, rotation)
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
