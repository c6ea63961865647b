"""Rotations that wait in vain, told to a person: who should load the new key is who still uses the old one."""

from dataclasses import dataclass
from datetime import datetime

from mushu.server.clock import rfc3339
from mushu.server.db import AnySession
from mushu.server.keys.models import Rotation
from mushu.server.keys.rotation import list_stalled
from mushu.server.keys.service import get_key
from mushu.server.usage.models import KeyUse
from mushu.server.usage.service import uses_of


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
