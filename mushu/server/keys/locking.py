"""Keys are locked the oldest first, the one that acts among them: so no two transactions wait for each other.

This is a part of one order, in which every transaction locks rows where the database locks them one by one:

    1  who acts: the user, then the session or the token; the user comes first where another of their tokens is revoked
    2  the organization, alone where the request changes what live and test share
    3  memberships
    4  keys, the oldest first
    5  places, by their URIs, and who is to own an organization: names (`db.hold_name`)
    6  what belongs to a key: rotations, deliveries, invitations
    7  the position in the journal of revoked keys

The proof of a request locks 1 to 4, as strongly as its act needs (`gate/proof.py`): two that share a lock first, and
want it alone later, wait for each other. `docs/decisions/0030-one-order-of-locks.md` says why.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Select, select

from mushu.server.db import AnySession, holds_rows
from mushu.server.keys.models import ApiKey, Rotation
from mushu.server.keys.service import get_key


def lock_key(session: AnySession, key_id: str) -> ApiKey:
    """Return the key, which no other transaction changes before the caller's ends.

    Raises:
        KeyNotFound: there is none.
    """
    key = session.get(ApiKey, key_id, populate_existing=True, with_for_update={"key_share": True})
    return key if key is not None else get_key(session, key_id)


def lock_keys(session: AnySession, key_ids: Collection[str]) -> None:
    """Have no other transaction change these keys before the caller's ends."""
    if key_ids and holds_rows(session):
        session.execute(oldest_first(ApiKey.id.in_(key_ids)))


def acting_and_changed(key_id: str, org_id: str | None, changed: str) -> Select[Any]:
    """Return what locks a key that acts, the one that it changes, and the one whose place that takes."""
    before = select(Rotation.predecessor_id).where(Rotation.successor_id == changed).scalar_subquery()
    mine = ApiKey.org_id == org_id  # a key of others is not kept from them
    return oldest_first((ApiKey.id == key_id) | (mine & ((ApiKey.id == changed) | (ApiKey.id == before))))


def oldest_first(which: ColumnElement[bool]) -> Select[Any]:
    """Return what locks these keys, in the order of their age: a successor is younger than the key before it."""
    found = select(ApiKey.id).where(which).order_by(ApiKey.created_at, ApiKey.id)
    return found.with_for_update(key_share=True)
