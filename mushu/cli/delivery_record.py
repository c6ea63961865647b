"""The record of this account: where it put which key, in `deliveries.json` beside the credentials.

A deleted key's value is taken away from the places that stand here, and from no place that a server names. A digest
tells the value apart from what stands there since.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mushu.cli import config
from mushu.destination import DestinationError, Location
from mushu.destination.registry import opener
from mushu.destination.target import DeliveredKey, open_safely

DELIVERIES: Final = "deliveries.json"


@dataclass(frozen=True, slots=True)
class RecordedDelivery:
    """Where one key was put, or was on its way to."""

    #: SHA-256 of the key in hexadecimal.
    digest: str
    #: By URI, where it led to then; an empty one where that is not known.
    places: Mapping[str, Location]
    #: The key is over, and its value may be left there.
    is_over: bool = False


def find(server: str, key_id: str) -> RecordedDelivery | None:
    """Return where this account put a key of a server.

    Raises:
        Failure: the record cannot be read.
    """
    return _parsed(_keys_of(config.read(DELIVERIES), server).get(key_id))


def remember(server: str, key_id: str, delivery: RecordedDelivery) -> None:
    """Keep where a key is about to be put.

    Raises:
        Failure: nothing can be kept in the folder.
    """
    with config.changing(DELIVERIES) as kept:
        kept[server] = _keys_of(kept, server) | {key_id: _entry(delivery)}


def forget(server: str, key_id: str, left: Sequence[str] = ()) -> None:
    """Forget a key that is over, but for the places where its value may be left.

    Raises:
        Failure: the record cannot be written.
    """
    with config.changing(DELIVERIES) as kept:
        keys = _keys_of(kept, server)
        found = _parsed(keys.pop(key_id, None))
        if found is not None and left:
            places = {uri: found.places.get(uri, Location()) for uri in left}
            keys[key_id] = _entry(RecordedDelivery(found.digest, places)) | {"over": True}
        kept[server] = keys


def take_away(key_id: str, delivery: RecordedDelivery) -> tuple[list[str], list[str]]:
    """Remove the value of a dead key from where it was put.

    Returns:
        What to tell of each place, and the URIs of those where it may be left.
    """
    told, left = [], []
    open_destination = opener(Path.cwd())
    for uri, location in delivery.places.items():
        try:
            delivered = DeliveredKey(key_id, delivery.digest, location)
            removed, _ = delivered.take_away(open_safely(open_destination, uri))
        except DestinationError as error:
            told.append(f"{uri}: {error} Its value may be left there, and opens nothing.")
            left.append(uri)
        else:
            told.append(f"{uri}: its value was removed." if removed else f"{uri}: its value is not there.")
    return told, left


def _keys_of(kept: config.Remembered, server: str) -> dict[str, Any]:
    found = kept.get(server)
    return dict(found) if isinstance(found, dict) else {}


def _parsed(entry: object) -> RecordedDelivery | None:
    if not isinstance(entry, dict):
        return None
    digest, uris, locations = entry.get("digest"), entry.get("uris"), entry.get("locations")
    if not isinstance(digest, str) or not isinstance(uris, list):
        return None
    known = locations if isinstance(locations, dict) else {}
    places = {uri: _location(known.get(uri)) for uri in uris if isinstance(uri, str)}
    return RecordedDelivery(digest, places, entry.get("over") is True)


def _entry(delivery: RecordedDelivery) -> dict[str, Any]:
    locations = {uri: [location.identity, location.directions] for uri, location in delivery.places.items()}
    return {"digest": delivery.digest, "uris": list(delivery.places), "locations": locations}


def _location(kept: object) -> Location:
    told = [text for text in kept if isinstance(text, str)] if isinstance(kept, list) else []
    return Location(*told) if len(told) == 2 else Location()
