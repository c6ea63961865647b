"""Named destinations as deliveries see them: what a name stands for, which keys are there, what is needed to get in."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, or_, select, update

from mushu.destination import DestinationError
from mushu.environment import Environment
from mushu.server import destinations as service
from mushu.server.audit import Actor
from mushu.server.clock import Clock
from mushu.server.db import AnySession, hold_name, reading
from mushu.server.delivery.models import LATEST_ARRIVAL, Delivery, DeliveryState
from mushu.server.destinations import EVERYWHERE, DestinationRequest, DestinationRow
from mushu.server.environments import Source, environment_of, prepare, within
from mushu.server.errors import DestinationHeld, DestinationNotFound, Invalid, SealingFailed
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import DEAD
from mushu.server.paging import iterate
from mushu.server.sealing.ring import SealingKeys

_LYING: Final = (DeliveryState.PENDING, DeliveryState.DELIVERED, DeliveryState.VERIFIED)
_MOST_NAMED: Final = 5
_NAMED: Final = select(DestinationRow.uri, DestinationRow.name).where(
    DestinationRow.uri.in_(bindparam("uris", expanding=True)), DestinationRow.removed_at.is_(None)
)
_NAMES: Final = prepare(_NAMED)
_NAMES_IN_ORG: Final = prepare(_NAMED.where(DestinationRow.org_id == bindparam("org_id")))


def uris_of(session: AnySession, org_id: str, names: Sequence[str]) -> list[str]:
    """Return the URIs that these names stand for in the organization and environment of the session, in their order.

    Raises:
        Invalid: no name, or one twice.
        DestinationNotFound: one stands for nothing there; the first such is named.
    """
    if not names or len(set(names)) < len(names):
        raise Invalid("Name at least one destination, and none twice.", field="deliver_to")
    query = select(DestinationRow.name, DestinationRow.uri).where(
        DestinationRow.org_id == org_id, DestinationRow.removed_at.is_(None), DestinationRow.name.in_(names)
    )
    uris: dict[str, str] = dict(session.execute(query).all())
    for name in names:
        if name not in uris:  # the same words whether or not the other environment has it: its names are its own
            environment = environment_of(session)
            raise DestinationNotFound(
                f"There is no {environment} destination {name!r} in this organization. An operator names one with "
                f"`flask destinations add --env {environment}`.",
                field="deliver_to",
            )
    return [uris[name] for name in names]


def names_of(source: Source, uris: Sequence[str], org_id: str | None = None) -> dict[str, str]:
    """Return the names of those of these URIs that have one in the environment of the source, by URI.

    Args:
        org_id: names of this organization only: what others call a place is not for everybody.
    """
    if org_id is None:
        return dict(_NAMES.rows(source, {"uris": uris}))
    return dict(_NAMES_IN_ORG.rows(source, {"uris": uris, "org_id": org_id}))


def uris_at(session: AnySession, org_id: str, environments: Sequence[Environment], place: str) -> list[str]:
    """Return the URIs that a filter by destination means: those of a name in an organization, or the URI itself.

    Raises:
        Invalid: it is neither a name there nor a URI.
    """
    named = select(DestinationRow.uri).where(
        DestinationRow.org_id == org_id,
        DestinationRow.environment.in_(environments),
        DestinationRow.removed_at.is_(None),
        DestinationRow.name == place,
    )
    uris: list[str] = [*session.scalars(named, execution_options=EVERYWHERE)]
    if not uris and ":" not in place:
        raise Invalid(
            "That is no name of a destination here, and no URI, such as env:/srv/app/.env.", field="destination"
        )
    return uris or [place]


def named_by_others(session: AnySession, uris: Sequence[str], org_id: str) -> Sequence[DestinationRow]:
    """Return the destinations among these that another organization has named."""
    others = select(DestinationRow).where(
        DestinationRow.uri.in_(uris), DestinationRow.removed_at.is_(None), DestinationRow.org_id != org_id
    )
    return session.scalars(others.order_by(DestinationRow.uri), execution_options=EVERYWHERE).all()


def living_at(session: AnySession, uris: Sequence[str]) -> dict[str, list[ApiKey]]:
    """Return, by URI, the keys that are not over and that the ledger has there, or on their way, wherever it leads."""
    found: dict[str, list[ApiKey]] = {}
    for delivery, key in deliveries_of_living(session, uris):
        found.setdefault(delivery.uri, []).append(key)
    return found


def deliveries_of_living(session: AnySession, uris: Sequence[str]) -> Sequence[tuple[Delivery, ApiKey]]:
    """Return the deliveries to these URIs of keys that are not over, and the keys, as `living_at`."""
    query = select(Delivery, ApiKey).join(ApiKey, ApiKey.id == Delivery.key_id)
    found = session.execute(query.where(Delivery.uri.in_(uris), _is_living()).order_by(ApiKey.id))
    return [(delivery, key) for delivery, key in found]


def add_named(
    session: AnySession, clock: Clock, actor: Actor, keys: SealingKeys, place: DestinationRequest
) -> DestinationRow:
    """Give a place a name, unless keys of the other environment are there.

    Raises:
        DestinationHeld: one does.
        and what `destinations.add` raises.
    """
    hold_places(session, [place.uri])
    for key in living_at(session, [place.uri]).get(place.uri, []):
        if key.environment != place.environment:
            raise DestinationHeld(
                f"{place.uri} holds {key.id} ({key.name}), a {key.environment} key. One place belongs to one "
                f"environment: name it with --env {key.environment}, or delete that key first.",
                field="environment",
            )
    return service.add(session, clock, actor, keys, place)


def remove_named(session: AnySession, clock: Clock, actor: Actor, org_id: str, name: str) -> DestinationRow:
    """Take the name of a destination away.

    Raises:
        DestinationNotFound: the organization has none of this name in the environment of the session.
        DestinationHeld: a living key is there, whose value could not be taken away any more when it ends.
    """
    destination = service.get(session, org_id, name)
    living = living_at(session, [destination.uri]).get(destination.uri, [])
    if living:
        shown = ", ".join(f"{key.id} ({key.name})" for key in living[:_MOST_NAMED])
        more = f" and {len(living) - _MOST_NAMED} more" if len(living) > _MOST_NAMED else ""
        raise DestinationHeld(
            f"{destination.uri} holds {shown}{more}. Delete what is there first (`flask keys delete KEY_ID`): "
            "without the destination, its value could not be taken away any more.",
            field="name",
        )
    service.remove(session, clock, actor, destination)
    return destination


def remove_all_named(session: AnySession, clock: Clock, actor: Actor, org_id: str) -> None:
    """Take the names of all destinations of a deleted organization away, so that others can have the places.

    What is sealed for them stays until the values of its keys are taken away from there (`forget_settings`).
    """
    for environment in Environment:
        with within(session, environment):
            for destination in iterate(partial(service.list_destinations, session, org_id)):
                service.remove(session, clock, actor, destination)


def hold_places(session: AnySession, uris: Sequence[str]) -> None:
    """Have whoever names one of these places, or brings a key there, wait for this transaction to end."""
    for uri in sorted(uris):  # in one order, or two would wait for each other
        hold_name(session, uri)


def settings_for(session: AnySession, keys: SealingKeys, uri: str) -> Mapping[str, str]:
    """Return the settings of the place with this URI; owns its transactions.

    A place that has no name any more keeps those it had for as long as something of Mushu may be there.

    Raises:
        DestinationError: they cannot be opened; not for good, for the keys that seal can be restored.
    """
    try:
        return _settings_for(session, keys, uri)
    except SealingFailed:
        pass  # `flask sealing rotate` may have ended between the row and the keys: look once more
    try:
        return _settings_for(session, keys, uri)
    except SealingFailed as error:
        reason = error.detail
    raise DestinationError(f"The settings of this destination cannot be read. {reason}", permanent=False)


def forget_settings(session: AnySession, clock: Clock) -> None:
    """Erase what is sealed for places without a name at which nothing of Mushu can be any more.

    Not at once: a delivery that began just before the name was taken away is not in the ledger yet.
    """
    unneeded = update(DestinationRow).where(_is_forgettable(clock())).values(sealed_settings=None)
    session.execute(unneeded, execution_options={**EVERYWHERE, "synchronize_session": False})


def any_forgettable(session: AnySession, clock: Clock) -> bool:
    """Tell whether `forget_settings` would erase something now."""
    return bool(session.scalar(select(exists().where(_is_forgettable(clock()))), execution_options=EVERYWHERE))


def _settings_for(session: AnySession, keys: SealingKeys, uri: str) -> Mapping[str, str]:
    with reading(session):
        for statement in _settings_at():
            destination = session.scalars(statement, {"uri": uri}, execution_options=EVERYWHERE).one_or_none()
            if destination is not None:
                return service.settings_of(destination, keys)
    return {}


@cache
def _settings_at() -> "Sequence[Select[DestinationRow]]":
    """Return what finds the settings of a place: those of its name, or the last that are needed without one.

    Built once: who checks a long ledger asks for every line of it.
    """
    here = select(DestinationRow).where(DestinationRow.uri == bindparam("uri"))
    kept = here.where(DestinationRow.sealed_settings.is_not(None), _is_needed())
    return here.where(DestinationRow.removed_at.is_(None)), kept.order_by(DestinationRow.removed_at.desc()).limit(1)


def _is_living() -> ColumnElement[bool]:
    lying = and_(Delivery.state.in_(_LYING), Delivery.on_client.is_(False))
    return and_(lying, ApiKey.stored_state.not_in(DEAD))


def _is_forgettable(now: datetime) -> ColumnElement[bool]:
    gone = and_(DestinationRow.removed_at <= now - LATEST_ARRIVAL, DestinationRow.sealed_settings.is_not(None))
    return and_(gone, ~_is_needed())


def _is_needed() -> "ColumnElement[Any]":
    """Tell whether a value of Mushu is at the place, or may be."""
    lies = and_(ApiKey.id == Delivery.key_id, Delivery.uri == DestinationRow.uri)
    return exists().where(lies, or_(_is_living(), Delivery.cleanup_due))
