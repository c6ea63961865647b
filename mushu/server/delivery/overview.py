"""What there is to know about keys beyond their own rows, gathered for a whole page of them at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from mushu.server.db import AnySession
from mushu.server.delivery.ledger import delivered_to
from mushu.server.keys.rotation import list_rotations_among
from mushu.server.usage.models import KeyUse
from mushu.server.usage.service import uses_of


@dataclass(frozen=True, slots=True)
class Overview:
    """Where a key is, what came before and after it, and how it was used."""

    delivered_to: Sequence[str] = ()
    #: The id of the key whose place it took, or is to take.
    replaces: str | None = None
    #: The id of the key that took its place.
    replaced_by: str | None = None
    use: KeyUse | None = None


def overviews(session: AnySession, key_ids: Sequence[str]) -> dict[str, Overview]:
    """Return what is known, by key id, of every key that is asked for."""
    places, uses = delivered_to(session, key_ids), uses_of(session, key_ids)
    rotations = list_rotations_among(session, key_ids)
    replaces = {rotation.successor_id: rotation.predecessor_id for rotation in rotations}
    replaced_by = {rotation.predecessor_id: rotation.successor_id for rotation in rotations if rotation.handed_over_at}
    return {
        key_id: Overview(places.get(key_id, ()), replaces.get(key_id), replaced_by.get(key_id), uses.get(key_id))
        for key_id in key_ids
    }
