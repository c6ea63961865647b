"""One look at a destination, outside of any delivery: how its plugin spells it, what it holds, and what that means."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

from mushu.destination import DestinationError, Location, refuse_unknown_settings
from mushu.destination.registry import OpenDestination, opener
from mushu.destination.safe import SafeDestination, guarded, remarks
from mushu.destination.target import Target, elsewhere, open_safely
from mushu.secret import Secret
from mushu.server.db import AnySession, reading
from mushu.server.delivery import ledger
from mushu.server.delivery.drift import call_in_parallel
from mushu.server.delivery.named_destinations import deliveries_of_living
from mushu.server.errors import Invalid
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import find_key_by_digest

_ELSEWHERE: Final = Path("/")


def true_uri(uri: str, settings: Mapping[str, Secret], base: Path) -> str:
    """Return the URI as its plugin spells it, which means the same place wherever Mushu runs.

    Args:
        settings: what the plugin needs for this place.
        base: a relative path is resolved below it.

    Raises:
        Invalid: it names no place, or not the same one everywhere; or its plugin does not know one of the settings. The
            URI is not repeated, nor a value: they may hold a secret.
    """
    plain = {name: value.reveal() for name, value in settings.items()}
    try:
        target = Target.open(opener(base, settings_for=lambda _: plain), uri)
        again = Target.open(opener(_ELSEWHERE, settings_for=lambda _: plain), target.uri)
    except DestinationError as error:
        raise Invalid(str(error), field="uri") from None
    try:  # here and not at each opening: what was named before, or by an older plugin, can still be taken back
        guarded(lambda: refuse_unknown_settings(type(target.destination.plugin), plain.keys()))
    except DestinationError as error:
        raise Invalid(str(error), field="settings") from None
    if target.uri != again.uri:
        raise Invalid(
            "Its plugin names this place differently from another folder, so it can have no name.", field="uri"
        )
    return target.uri


def seen_of(session: AnySession, key_id: str) -> list[str]:
    """Return what was seen of a key that was delivered, besides that it is there; owns its transaction."""
    with reading(session):
        return [f"{row.uri}: {row.error}" for row in ledger.list_deliveries(session, [key_id]) if row.error]


class ContentKind(StrEnum):
    """What is at a destination."""

    NOTHING = "nothing"
    KEY = "key"
    #: A value that Mushu did not put there.
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one destination was found to hold; faults are sentences for the operator, none where all is well."""

    #: None where it could not be found out.
    holds: ContentKind | None
    key: ApiKey | None
    faults: list[str]
    #: What to know of a key that is there; empty where there is nothing.
    warning: str = ""


def inspect(session: AnySession, open_destination: OpenDestination, uri: str) -> Inspection:
    """Find out whether a destination would take a key, and what it holds; owns its transactions, changes nothing."""
    faults: list[str] = []
    location, holding = Location(), None
    try:
        destination = open_safely(open_destination, uri)
    except DestinationError as error:
        return Inspection(None, None, [str(error)])
    try:
        destination.preflight()
    except DestinationError as error:
        faults.append(str(error))
    try:
        location, holding = destination.location(), destination.read()
    except DestinationError as error:
        faults += [str(error)] if str(error) not in faults else []
    with reading(session):
        living = deliveries_of_living(session, [uri])
        key = find_key_by_digest(session, holding.digest) if holding and holding.digest else None
    if holding is None:
        return Inspection(None, None, faults)
    holds = ContentKind.NOTHING if holding.digest is None else ContentKind.FOREIGN if key is None else ContentKind.KEY
    if holds is ContentKind.FOREIGN:
        faults.append("It holds a value that Mushu did not put there, and that no delivery overwrites unasked.")
    for delivery, lost in living:
        if lost != key:
            gone = f"By the ledger {lost.id} ({lost.name}) is there, and it is not."
            faults.append(str(elsewhere(lost.id, delivery.where, location) or gone))
    return Inspection(holds, key, faults, remarks(holding, key.id) if key is not None else "")


def refusal_of(open_destination: OpenDestination, uri: str, patience: float) -> str | None:
    """Return why a destination would not take a new key within so many seconds; None where it would."""
    try:
        destination = open_safely(open_destination, uri)
    except DestinationError as error:
        return str(error)
    (answer,) = call_in_parallel([partial(_tried, destination)], 1, patience)
    return "It does not answer." if answer is None else answer or None


def _tried(destination: SafeDestination) -> str:
    """Return why it would not, or nothing; on a thread of its own, so it touches no session."""
    try:
        destination.preflight()
        return "It holds a value already." if destination.read().digest is not None else ""
    except DestinationError as error:
        return str(error)
