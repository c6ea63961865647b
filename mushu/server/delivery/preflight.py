"""Phases 0 and 1 of a delivery: what is asked of every destination before anything is minted."""

from collections.abc import Collection, Sequence

from mushu.destination import DestinationError
from mushu.server.db import AnySession, reading
from mushu.server.delivery.opening import OpenDestination, guarded
from mushu.server.delivery.separation import refuse_holder
from mushu.server.delivery.stops import Stop
from mushu.server.errors import DeliveryFailed, DestinationHeld, Invalid
from mushu.server.keys.models import ApiKey
from mushu.server.keys.scopes import Environment
from mushu.server.keys.service import find_key_by_digest
from mushu.server.keys.states import DEAD, State


def open_stops(open_destination: OpenDestination, uris: Sequence[str]) -> list[Stop]:
    """Phase 0: every URI names a place, and no two the same.

    Raises:
        Invalid: one names none, or two the same; or there is none.
        DeliveryFailed: one cannot be opened at the moment.
    """
    try:
        stops = [guarded(lambda uri=uri: _open(open_destination, uri)) for uri in uris]  # type: ignore[misc]
    except DestinationError as error:
        if not error.permanent:  # what it needs cannot be had at the moment: no fault of who asks
            raise DeliveryFailed(f"{error} Nothing was minted.") from None
        raise Invalid(str(error), field="deliver_to") from None
    if not stops or len({stop.uri for stop in stops}) < len(stops):
        raise Invalid("Name at least one destination, and none twice.", field="deliver_to")
    return stops


def _open(open_destination: OpenDestination, uri: str) -> Stop:
    destination = open_destination(uri)
    return Stop(destination, destination.uri)


def check_stops(
    session: AnySession,
    environment: Environment,
    stops: Sequence[Stop],
    *,
    replacing: Collection[str] = (),
    force: bool,
) -> None:
    """Phase 1: every destination can be written to and holds nothing that would be lost.

    Args:
        environment: that of the key; one of the other that lives is never overwritten.
        replacing: ids of living keys whose value may be overwritten.
        force: a foreign value may be lost.

    Raises:
        DeliveryFailed: one cannot be written to.
        DestinationHeld: one holds something else.
    """
    for stop in stops:
        try:
            guarded(stop.destination.preflight)
            holding = guarded(stop.destination.read)
        except DestinationError as error:
            raise DeliveryFailed(f"{stop.uri}: {error} Nothing was minted.") from None
        if holding.digest is not None:
            with reading(session):
                holder = find_key_by_digest(session, holding.digest)
            refuse_holder(environment, stop.uri, holder)
            if not force:
                _refuse_foreign(stop.uri, holder, replacing)
        stop.expected_version = holding.version


def _refuse_foreign(uri: str, holder: ApiKey | None, replacing: Collection[str]) -> None:
    if holder is None:
        raise DestinationHeld(
            f"{uri} holds a value that Mushu did not put there. Name another destination, or remove the value.",
            field="deliver_to",
            overwritable=True,
        )
    if State(holder.stored_state) not in DEAD and holder.id not in replacing:
        # Its name is not told: it may be a key of another organization than that of who asks.
        raise DestinationHeld(
            f"{uri} holds {holder.id}, which is not over. Rotate or delete that key, or name another destination.",
            field="deliver_to",
            overwritable=True,
        )
