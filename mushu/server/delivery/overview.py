"""What there is to know about keys beyond their own rows, gathered for a whole page of them at once.

Also which rotations wait in vain: who should load the new key is who still uses the old one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mushu.server.clock import rfc3339
from mushu.server.db import AnySession
from mushu.server.delivery.ledger import delivered_to
from mushu.server.keys.models import Rotation
from mushu.server.keys.rotation import list_rotations_among, list_stalled
from mushu.server.keys.service import get_key
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


@dataclass(frozen=True, slots=True)
class Stalled:
    """An old key that lives on past the deadline of its rotation; `detail` is a sentence for the operator."""

    key_id: str
    key_name: str
    detail: str


def stalled_rotations(session: AnySession, now: datetime, org_id: str | None = None) -> list[Stalled]:
    """Return the rotations that have stalled, within the caller's transaction."""
    rotations = list_stalled(session, now, org_id)
    uses = uses_of(session, [found.predecessor_id for found in rotations])
    return [_told(session, found, uses.get(found.predecessor_id)) for found in rotations]


def _told(session: AnySession, rotation: Rotation, use: KeyUse | None) -> Stalled:
    key = get_key(session, rotation.predecessor_id)
    still = f"it was last used {rfc3339(use.last_used_at)} from {use.last_used_from}" if use else "it was never used"
    since = rfc3339(rotation.handed_over_at) if rotation.handed_over_at else "never"
    detail = (
        f"{rotation.successor_id} took over {since} and was not used since; {still}. Let its user load the new key, "
        f"or end the old one with `flask keys delete {key.id}`."
    )
    return Stalled(key.id, key.name, detail)
