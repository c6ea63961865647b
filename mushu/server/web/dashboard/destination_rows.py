"""What a list of destinations shows of each: the keys that are there, and what was last found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mushu.server.db import AnySession
from mushu.server.delivery.models import Condition, Delivery, DeliveryState
from mushu.server.delivery.named_destinations import deliveries_of_living
from mushu.server.destinations import DestinationRow
from mushu.server.errors import DeliveryFailed, DestinationHeld, MushuError
from mushu.server.keys.models import ApiKey
from mushu.server.web.sessions import require_session_user

#: What was last found: the shape, and words.
FOUND: Final = {
    Condition.OK: ("ok", "As it should be"),
    Condition.DRIFTED: ("bad", "Drifted: something else is there"),
    Condition.MISSING: ("bad", "Drifted: the key is not there any more"),
    Condition.UNREACHABLE: ("warn", "Does not answer"),
    Condition.DENIED: ("warn", "Does not let Mushu look"),
}


def place_called(uri: str, names: Mapping[str, str]) -> str:
    """Return what a destination is called by its URI, which names files of the server and is not for everybody.

    Args:
        names: of those that have one, by URI; the page of destinations lists them.
    """
    return names.get(uri) or f"an unlisted {uri.partition(':')[0]}: destination"


def told(error: MushuError) -> str:
    """Return why there is no key; in the words of a plugin only to an operator, for they may name files."""
    if isinstance(error, DestinationHeld | DeliveryFailed) and require_session_user().operator_since is None:
        return "A destination does not take it now. An operator sees why."
    return error.detail.removesuffix(" Nothing was minted.")


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A living key that is at a destination, or on its way there, and what was last found."""

    #: None for one of another organization, of which nothing is told but that it is there.
    key: ApiKey | None
    delivery: Delivery

    @property
    def is_under_way(self) -> bool:
        return self.delivery.state != DeliveryState.VERIFIED

    @property
    def tone(self) -> str:
        return "wait" if self.is_under_way else self._found[0]

    @property
    def words(self) -> str:
        return "The key is on its way" if self.is_under_way else self._found[1]

    @property
    def looked_at(self) -> datetime | None:
        return None if self.is_under_way else self.delivery.checked_at or self.delivery.verified_at

    @property
    def _found(self) -> tuple[str, str]:
        return FOUND[Condition(self.delivery.condition or Condition.OK)]


@dataclass(frozen=True, slots=True)
class DestinationLine:
    """One destination and the keys that are there."""

    destination: DestinationRow
    keys: Sequence[HeldKey]

    @property
    def name(self) -> str:
        return self.destination.name

    @property
    def scheme(self) -> str:
        return self.destination.uri.partition(":")[0]


def lines_of(session: AnySession, rows: Sequence[DestinationRow]) -> list[DestinationLine]:
    """Return what is shown of these destinations, in their order."""
    held: dict[str, list[HeldKey]] = {row.uri: [] for row in rows}
    owners = {row.uri: row.org_id for row in rows}
    for delivery, key in deliveries_of_living(session, [*held]):
        held[delivery.uri].append(HeldKey(key if key.org_id == owners[delivery.uri] else None, delivery))
    return [DestinationLine(row, held[row.uri]) for row in rows]
