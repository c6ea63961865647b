"""Minting once: the mark of the request that minted a key, and when it does not count any more.

A key that died before it ever opened anything was not made: the request that asked for it may ask again, with the same
`Idempotency-Key`, and the next key takes over its mark.
"""

from sqlalchemy import ColumnElement, and_, update

from mushu.server.db import AnySession
from mushu.server.idempotency import Once, find_made
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import DEAD


def find_minted(session: AnySession, once: Once | None) -> ApiKey | None:
    """Return the key that a request with this mark minted, as it is now; None if there is none, or it was given up.

    Raises:
        IdempotencyMismatch: that request asked for something else.
    """
    return find_made(session, ApiKey, once, ~_was_given_up())


def mark_minted(session: AnySession, key: ApiKey, once: Once | None) -> None:
    """Have a new key be found by its request, and no longer the one that was given up before it.

    Where another request with the same mark is faster, the index on it refuses this key when it is flushed.
    """
    if once is None:
        return
    before = update(ApiKey).where(ApiKey.request_key == once.request_key, _was_given_up())
    session.execute(before.values(request_key=None, request_digest=None).execution_options(synchronize_session=False))
    key.mark(once)


def mark_of(key: ApiKey) -> Once | None:
    """Return the mark that a key bears, for the one that is to be minted in its stead."""
    if key.request_key is None or key.request_digest is None:
        return None
    return Once(key.request_key, key.request_digest)


def _was_given_up() -> ColumnElement[bool]:
    return and_(ApiKey.stored_state.in_(list(DEAD)), ApiKey.activated_at.is_(None))
