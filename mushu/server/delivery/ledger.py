"""Reading and writing the rows of deliveries. Each change names the state it expects, and says whether it was made."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Table, and_, bindparam, false, or_, select, true, union, update

from mushu.destination import Holding, Location
from mushu.destination.safe import remarks
from mushu.keyformat import public_id
from mushu.server.audit import Actor
from mushu.server.db import AnySession
from mushu.server.delivery.models import IS_CLEANUP_DUE, IS_UNDER_WAY, Condition, Delivery, DeliveryState
from mushu.server.environments import Source, prepare
from mushu.server.keys.models import IS_PENDING, ApiKey

UNDER_WAY = (DeliveryState.PENDING, DeliveryState.DELIVERED)
_ANY = tuple(DeliveryState)
_SHOWN: Final = prepare(
    select(
        *(Delivery.key_id, Delivery.uri, Delivery.state, Delivery.version, Delivery.error, Delivery.on_client),
        *(Delivery.condition, Delivery.checked_at, Delivery.verified_at, Delivery.removed_at),
    )
    .where(Delivery.key_id.in_(bindparam("ids", expanding=True)))
    .order_by(Delivery.created_at, Delivery.uri)
)


#: A URI, and the identity of the location that it led to.
UriAt = tuple[str, str]


def open_delivery(
    key_id: str,
    uri: str,
    location: Location,
    expected_version: str,
    now: datetime,
    lease_until: datetime,
    actor: Actor,
) -> Delivery:
    """Return a new pending delivery; the caller adds it to its transaction."""
    return Delivery(
        id=public_id("dlv"),
        key_id=key_id,
        uri=uri,
        location=location.identity,
        directions=location.directions,
        state=DeliveryState.PENDING,
        attempt_id=public_id("att"),
        expected_version=expected_version,
        lease_until=lease_until,
        created_at=now,
        cleanup_due=False,
        delivered_by=str(actor),
    )


def get_delivery(session: AnySession, delivery_id: str) -> Delivery:
    return session.get_one(Delivery, delivery_id, populate_existing=True)


def list_deliveries(session: AnySession, key_ids: Sequence[str]) -> Sequence[Delivery]:
    """Return the deliveries of these keys, oldest first, those of one attempt by their URIs."""
    query = select(Delivery).where(Delivery.key_id.in_(key_ids)).order_by(Delivery.created_at, Delivery.uri)
    return session.scalars(query.execution_options(populate_existing=True)).all()


def read_deliveries(source: Source, key_ids: Sequence[str]) -> Sequence[Any]:
    """Return what is shown of the deliveries of these keys, as rows of `Delivery` in the same order."""
    return _SHOWN.rows(source, {"ids": key_ids})


def delivered_to(session: AnySession, key_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return, by key id, the URIs at which each key was proven to be."""
    found: dict[str, list[str]] = {}
    for delivery in list_deliveries(session, key_ids):
        if delivery.state == DeliveryState.VERIFIED:
            found.setdefault(delivery.key_id, []).append(delivery.uri)
    return found


def places_of(session: AnySession, key_id: str) -> list[Delivery]:
    """Return the deliveries of a key to destinations of this server at which it was proven to be."""
    return on_server(list_deliveries(session, [key_id]))


def on_server(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Return those that prove that the key is at a destination of this server."""
    return [found for found in deliveries if found.state == DeliveryState.VERIFIED and not found.on_client]


def may_be_at(location: str) -> ColumnElement[bool]:
    """Select the deliveries that are at this location, as `Delivery.may_be_at` has it."""
    return Delivery.location.in_([location, ""]) if location else true()


def find_under_way(session: AnySession, uri: str, location: str) -> Delivery | None:
    """Return an unfinished delivery to `uri` that may be at this location."""
    return session.scalars(select(Delivery).where(Delivery.uri == uri, may_be_at(location), IS_UNDER_WAY)).first()


def find_at_work(session: AnySession, uri: str, location: str, now: datetime) -> Delivery | None:
    """Return a delivery whose process may be writing to `uri` there now, or putting back what it wrote."""
    ended = select(Delivery).where(Delivery.uri == uri, may_be_at(location), IS_CLEANUP_DUE)
    putting_back = session.scalars(ended.where(Delivery.state == DeliveryState.FAILED, Delivery.lease_until > now))
    return find_under_way(session, uri, location) or putting_back.first()


def keys_under_way(session: AnySession) -> Sequence[str]:
    """Return the ids of keys with a delivery under way, which may be dead, and of pending keys, oldest first.

    All deliveries of a pending key may be verified already. One that has no delivery is none of recovery's business.
    """
    delivered = select(Delivery.key_id).where(Delivery.key_id == ApiKey.id).exists()
    pending = session.scalars(select(ApiKey.id).where(IS_PENDING, delivered).order_by(ApiKey.created_at, ApiKey.id))
    under_way = session.scalars(select(Delivery.key_id).where(IS_UNDER_WAY))
    return list(dict.fromkeys([*pending, *under_way]))


def keys_lapsed(session: AnySession, now: datetime) -> Sequence[str]:
    """Return the ids of pending keys that a client had to confirm by now, and did not."""
    return session.scalars(select(ApiKey.id).where(IS_PENDING, ApiKey.confirm_by <= now)).all()


def keys_to_clean_up(session: AnySession) -> Sequence[str]:
    """Return the ids of keys whose dead value may still be somewhere."""
    # Made distinct here: asked to do it, SQLite reads the whole ledger in the order of its keys.
    return list(dict.fromkeys(session.scalars(select(Delivery.key_id).where(IS_CLEANUP_DUE))))


def keys_at(session: AnySession, uris: Sequence[str]) -> Sequence[str]:
    """Return the ids of keys with unfinished business at one of these destinations."""
    here = select(Delivery.key_id).where(Delivery.uri.in_(uris))
    pending = here.where(Delivery.key_id.in_(select(ApiKey.id).where(IS_PENDING)))
    return session.scalars(union(pending, here.where(IS_UNDER_WAY), here.where(IS_CLEANUP_DUE))).all()


def delivered(session: AnySession, delivery: Delivery, version: str, now: datetime) -> bool:
    """T2: the destination took the key; False if the attempt is not under way any more."""
    changes = {"state": DeliveryState.DELIVERED, "delivered_at": now, "version": version, "error": None}
    return _change(session, delivery, UNDER_WAY, changes)


def verified(session: AnySession, delivery: Delivery, location: Location, holding: Holding, now: datetime) -> bool:
    """T3: the key was read back at this location; False if the attempt has ended."""
    remark = remarks(holding, delivery.key_id) or None
    changes = {"state": DeliveryState.VERIFIED, "verified_at": now, "version": holding.version, "error": remark}
    return _change(session, delivery, (*UNDER_WAY, DeliveryState.VERIFIED), {**changes, **_at(location)})


def fail(session: AnySession, delivery: Delivery, reason: str) -> None:
    """Close an unfinished delivery as failed; its value may be there, so it is due for cleanup."""
    changes = {"state": DeliveryState.FAILED, "error": reason, "cleanup_due": True}
    _change(session, delivery, (*UNDER_WAY, DeliveryState.VERIFIED), changes)


def put_back(session: AnySession, delivery: Delivery, reason: str, lease_until: datetime) -> None:
    """Close a delivery as failed, whatever others made of it, and keep them off its destination until `lease_until`."""
    changes = {"state": DeliveryState.FAILED, "error": reason, "cleanup_due": True, "lease_until": lease_until}
    _change(session, delivery, _ANY, changes)


def hand_back(session: AnySession, delivery: Delivery, lease_until: datetime) -> None:
    """Give the lease back; to `created_at` where it is certain that no write comes any more."""
    _change(session, delivery, _ANY, {"lease_until": lease_until})


def replaced(session: AnySession, key_id: str, proven: Sequence[UriAt]) -> None:
    """Note that another key was proven to be where this one had been; what a client did not tell counts as there."""
    here = [
        and_(
            Delivery.uri == uri,
            or_(Delivery.location == location, and_(Delivery.on_client, may_be_at(location))),
        )
        for uri, location in proven
    ]
    session.execute(
        update(Delivery)
        .where(Delivery.key_id == key_id, or_(false(), *here), Delivery.state == DeliveryState.VERIFIED)
        .values(state=DeliveryState.REPLACED, error=None)
        .execution_options(synchronize_session=False)
    )


def found(session: AnySession, delivery: Delivery, location: Location) -> None:
    """Note where the key was seen, if that is news: the ledger follows the key."""
    if delivery.location != location.identity:
        _change(session, delivery, (DeliveryState.VERIFIED,), _at(location))


def removed(session: AnySession, delivery: Delivery, location: Location, now: datetime) -> None:
    """Note that Mushu took the value of a dead key away from where it had been proven to be."""
    changes = {"state": DeliveryState.REMOVED, "removed_at": now, "error": None}
    _change(session, delivery, (DeliveryState.VERIFIED,), {**changes, **_at(location)})


def cleaned_up(session: AnySession, delivery: Delivery) -> None:
    """Note that the destination does not hold the dead key, and that nobody needs to look there again.

    Where Mushu did not take it away, somebody else did, and `removed_at` stays empty.
    """
    _change(session, delivery, (DeliveryState.VERIFIED,), {"state": DeliveryState.REMOVED, "error": None})
    _change(session, delivery, _ANY, {"cleanup_due": False})


def note(session: AnySession, delivery: Delivery, error: str) -> None:
    """Keep what went wrong for a person to read; nothing else changes."""
    _change(session, delivery, _ANY, {"error": error})


def checked(session: AnySession, looks: Sequence[tuple[Delivery, Condition, str | None]], now: datetime) -> None:
    """Note, in one statement, what looks at destinations found, where the key is still said to be there."""
    here = update(cast(Table, Delivery.__table__)).where(
        Delivery.id == bindparam("of"),
        Delivery.attempt_id == bindparam("attempt"),
        Delivery.state == DeliveryState.VERIFIED,
    )
    values = [
        {"of": delivery.id, "attempt": delivery.attempt_id, "found": condition, "trouble": error}
        for delivery, condition, error in looks
    ]
    session.execute(here.values(checked_at=now, condition=bindparam("found"), error=bindparam("trouble")), values)


def _at(location: Location) -> Mapping[str, object]:
    return {"location": location.identity, "directions": location.directions}


def let_go(session: AnySession, key_id: str) -> None:
    """Give up taking the key's value away: it stays where it is, and nobody looks for it any more."""
    here = update(Delivery).where(Delivery.key_id == key_id, IS_CLEANUP_DUE)
    session.execute(here.values(cleanup_due=False).execution_options(synchronize_session=False))


def mark_for_cleanup(session: AnySession, key_id: str) -> None:
    """Note that the key's value is to be taken away from every place where it may be."""
    here = update(Delivery).where(Delivery.key_id == key_id, Delivery.on_client.is_(False))
    left = here.where(Delivery.state != DeliveryState.REMOVED)
    session.execute(left.values(cleanup_due=True).execution_options(synchronize_session=False))


def _change(
    session: AnySession, delivery: Delivery, sources: Sequence[DeliveryState], changes: Mapping[str, object]
) -> bool:
    """Change the row if it is still this attempt's and in one of `sources`; tell whether it was."""
    changed = session.execute(
        update(Delivery)
        .where(Delivery.id == delivery.id, Delivery.attempt_id == delivery.attempt_id, Delivery.state.in_(sources))
        .values(changes)
        .execution_options(synchronize_session=False)
    )
    return changed.rowcount > 0  # type: ignore[attr-defined,no-any-return]
