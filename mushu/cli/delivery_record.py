"""The record of this account: where it put which key, in `deliveries.json` beside the credentials.

A deleted key's value is taken away from the places that stand here, and from no place that a server names. A digest
tells the value apart from what stands there since.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mushu.cli import config
from mushu.destination import DestinationError
from mushu.destination.registry import opener
from mushu.destination.target import open_safely

DELIVERIES: Final = "deliveries.json"


@dataclass(frozen=True, slots=True)
class RecordedDelivery:
    """Where one key was put, or was on its way to."""

    #: SHA-256 of the key in hexadecimal.
    digest: str
    uris: Sequence[str]
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
        entry = {"digest": delivery.digest, "uris": list(delivery.uris)}
        kept[server] = _keys_of(kept, server) | {key_id: entry}


def forget(server: str, key_id: str, left: Sequence[str] = ()) -> None:
    """Forget a key that is over, but for the places where its value may be left.

    Raises:
        Failure: the record cannot be written.
    """
    with config.changing(DELIVERIES) as kept:
        keys = _keys_of(kept, server)
        found = _parsed(keys.pop(key_id, None))
        if found is not None and left:
            keys[key_id] = {"digest": found.digest, "uris": list(left), "over": True}
        kept[server] = keys


def take_away(delivery: RecordedDelivery) -> tuple[list[str], list[str]]:
    """Remove the value of a dead key from where it was put.

    Returns:
        What to tell of each place, and the URIs of those where it may be left.
    """
    told, left = [], []
    open_destination = opener(Path.cwd())
    for uri in delivery.uris:
        try:
            removed = open_safely(open_destination, uri).remove(delivery.digest)
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
    digest, uris = entry.get("digest"), entry.get("uris")
    if not isinstance(digest, str) or not isinstance(uris, list):
        return None
    return RecordedDelivery(digest, [uri for uri in uris if isinstance(uri, str)], entry.get("over") is True)
