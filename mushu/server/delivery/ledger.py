"""Reading and writing the rows of deliveries. Each change names the state it expects, and says whether it was made."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from mushu.keyformat import public_id
from mushu.server.db import AnySession
from mushu.server.delivery.models import IS_CLEANUP_DUE, IS_UNDER_WAY, Delivery, DeliveryState
from mushu.server.keys.models import IS_PENDING, ApiKey

UNDER_WAY = (DeliveryState.PENDING, DeliveryState.DELIVERED)


def open_delivery(key_id: str, uri: str, expected_version: str, now: datetime, lease_until: datetime) -> Delivery:
    """Return a new pending delivery; the caller adds it to its transaction."""
    return Delivery(
        id=public_id("dlv"),
        key_id=key_id,
        uri=uri,
        state=DeliveryState.PENDING,
        attempt_id=public_id("att"),
        expected_version=expected_version,
        lease_until=lease_until,
        created_at=now,
        cleanup_due=False,
    )


def get_delivery(session: AnySession, delivery_id: str) -> Delivery:
    return session.get_one(Delivery, delivery_id, populate_existing=True)


def list_deliveries(session: AnySession, key_ids: Sequence[str]) -> Sequence[Delivery]:
    """Return the deliveries of these keys, in the order in which they were asked for."""
    query = select(Delivery).where(Delivery.key_id.in_(key_ids)).order_by(Delivery.created_at, Delivery.id)
    return session.scalars(query.execution_options(populate_existing=True)).all()


def delivered_to(session: AnySession, key_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return, by key id, the URIs at which each key was proven to be."""
    found: dict[str, list[str]] = {}
    for delivery in list_deliveries(session, key_ids):
        if delivery.state == DeliveryState.VERIFIED:
            found.setdefault(delivery.key_id, []).append(delivery.uri)
    return found


def find_under_way(session: AnySession, uri: str) -> Delivery | None:
    """Return the unfinished delivery to `uri`; there is one at most."""
    return session.scalars(select(Delivery).where(Delivery.uri == uri, IS_UNDER_WAY)).one_or_none()


def keys_under_way(session: AnySession) -> Sequence[str]:
    """Return the ids of pending keys, oldest first."""
    return session.scalars(select(ApiKey.id).where(IS_PENDING).order_by(ApiKey.created_at, ApiKey.id)).all()


def keys_to_clean_up(session: AnySession) -> Sequence[str]:
    """Return the ids of keys whose dead value may still lie somewhere."""
    return session.scalars(select(Delivery.key_id).where(IS_CLEANUP_DUE).distinct()).all()


def keys_at(session: AnySession, uris: Sequence[str]) -> Sequence[str]:
    """Return the ids of keys with unfinished business at one of these destinations."""
    here = select(Delivery.key_id).where(Delivery.uri.in_(uris))
    return session.scalars(here.where(IS_UNDER_WAY).union(here.where(IS_CLEANUP_DUE))).all()


def advance(session: AnySession, delivery: Delivery, sources: Sequence[DeliveryState], **changes: Any) -> bool:
    """Change the row if it is still this attempt's and in one of `sources`; tell whether it was."""
    changed = session.execute(
        update(Delivery)
        .where(Delivery.id == delivery.id, Delivery.attempt_id == delivery.attempt_id, Delivery.state.in_(sources))
        .values(**changes)
        .execution_options(synchronize_session=False)
    )
    return changed.rowcount > 0  # type: ignore[attr-defined,no-any-return]


def fail(session: AnySession, delivery: Delivery, reason: str) -> None:
    """Close an unfinished delivery as failed; its value may lie there, so it is due for cleanup."""
    changes: dict[str, Any] = {"state": DeliveryState.FAILED, "error": reason, "cleanup_due": True}
    advance(session, delivery, (*UNDER_WAY, DeliveryState.VERIFIED), **changes)


def cleaned_up(session: AnySession, delivery: Delivery, removed_at: datetime | None = None) -> None:
    """Note that the destination no longer holds the dead key; `removed_at` where Mushu took it away."""
    changes: dict[str, Any] = {"cleanup_due": False}
    if removed_at is not None and delivery.state == DeliveryState.VERIFIED:
        changes |= {"state": DeliveryState.REMOVED, "removed_at": removed_at}
    advance(session, delivery, tuple(DeliveryState), **changes)


def mark_for_cleanup(session: AnySession, key_id: str) -> None:
    """Note that the key's value is to be taken away from wherever it may lie."""
    lying = update(Delivery).where(Delivery.key_id == key_id, Delivery.state != DeliveryState.REMOVED)
    session.execute(lying.values(cleanup_due=True).execution_options(synchronize_session=False))
