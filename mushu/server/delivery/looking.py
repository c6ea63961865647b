"""A look at one place, outside of any delivery: how its plugin spells it, and what lies there now."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from mushu.destination import DestinationError, Holding, refuse_unknown_settings
from mushu.secret import Secret
from mushu.server.db import AnySession, reading
from mushu.server.delivery.named import living_at
from mushu.server.delivery.opening import OpenDestination, guarded, opener
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
        destination = guarded(lambda: opener(base, settings_for=lambda _: plain)(uri))
        found = guarded(lambda: destination.uri)
        again = guarded(lambda: opener(_ELSEWHERE, settings_for=lambda _: plain)(found).uri)
    except DestinationError as error:
        raise Invalid(str(error), field="uri") from None
    try:  # here and not at each opening: what was named before, or by an older plugin, can still be taken back
        guarded(lambda: refuse_unknown_settings(type(destination), plain.keys()))
    except DestinationError as error:
        raise Invalid(str(error), field="settings") from None
    if found != again:
        raise Invalid(
            "Its plugin names this place differently from another folder, so it can have no name.", field="uri"
        )
    return found


class Held(StrEnum):
    """What lies in a place."""

    NOTHING = "nothing"
    KEY = "key"
    #: A value that Mushu did not put there.
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look at one place found; `faults` are sentences for the operator, none where all is well."""

    #: None where it could not be found out.
    held: Held | None
    key: ApiKey | None
    faults: list[str]


def look_at(session: AnySession, open_destination: OpenDestination, uri: str) -> Sight:
    """Find out whether the place would take a key, and what it holds now; owns its transactions, changes nothing."""
    faults: list[str] = []
    holding: Holding | None = None
    try:
        destination = guarded(lambda: open_destination(uri))
    except DestinationError as error:
        return Sight(None, None, [str(error)])
    try:
        guarded(destination.preflight)
    except DestinationError as error:
        faults.append(str(error))
    try:
        holding = guarded(destination.read)
    except DestinationError as error:
        faults += [str(error)] if str(error) not in faults else []
    with reading(session):
        living = living_at(session, [uri]).get(uri, [])
        key = find_key_by_digest(session, holding.digest) if holding and holding.digest else None
    if holding is None:
        return Sight(None, None, faults)
    held = Held.NOTHING if holding.digest is None else Held.FOREIGN if key is None else Held.KEY
    if held is Held.FOREIGN:
        faults.append("It holds a value that Mushu did not put there, and that no delivery overwrites unasked.")
    faults += [f"By the ledger {lost.id} ({lost.name}) lies there, and it does not." for lost in living if lost != key]
    return Sight(held, key, faults)
