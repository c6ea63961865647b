"""T4, wherever it happens: in the courier's run, in recovery, or on a client's word."""

from collections.abc import Sequence

from mushu.secret import Secret
from mushu.server.audit.service import Actor
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.delivery import ledger
from mushu.server.idempotency import Once
from mushu.server.keys import activation
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import Terms, begin, find_rotation_to
from mushu.server.keys.service import get_key
from mushu.server.keys.states import DEAD


def issue_successor(
    session: AnySession, clock: Clock, actor: Actor, key_id: str, terms: Terms, once: Once | None = None
) -> tuple[ApiKey, Secret]:
    """Create a successor that is active at once, to be shown to the caller this one time; the key is retiring.

    Raises:
        KeyNotFound, WrongState: there is no such key, or it is not active.
        Invalid: the terms cannot be kept.
    """
    successor, secret = begin(session, clock, actor, key_id, terms, once)
    return activate(session, clock, actor, successor.id, ()), secret


def activate(session: AnySession, clock: Clock, actor: Actor, key_id: str, uris: Sequence[str]) -> ApiKey:
    """Make a delivered key active, in the caller's transaction; the one it succeeds retires, and lies there no more.

    Args:
        uris: where the key was proven to be.

    Raises:
        WrongState: the key is not pending, or the one it should succeed cannot make way.
    """
    key = activation.activate(session, clock, actor, key_id)
    rotation = find_rotation_to(session, key_id)
    if rotation is not None:
        ledger.replaced(session, rotation.predecessor_id, uris)
        if get_key(session, rotation.predecessor_id).stored_state in DEAD:  # at once: other places may still hold it
            ledger.mark_for_cleanup(session, rotation.predecessor_id)
    return key
