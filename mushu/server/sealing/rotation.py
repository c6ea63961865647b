"""Everything that is sealed gets a new key: `flask sealing rotate`."""

from sqlalchemy import update

from mushu.server.audit import Actor, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession, reading, writing
from mushu.server.errors import SealingFailed
from mushu.server.sealing import EVERYWHERE, faults, lock, sealed_values
from mushu.server.sealing.ring import Ring, SealingKeys, key_id_of


def rotate(session: AnySession, clock: Clock, actor: Actor, keys: SealingKeys) -> int:
    """Seal everything anew with a new key, then drop the old ones; return how many values that were.

    Owns its transactions. Killed anywhere, every value still opens: the old keys go when nothing needs them any more.

    Raises:
        SealingFailed: the keys are missing or damaged, or something does not open; nothing was changed.
    """
    with keys.locked():
        keys.load()
        with reading(session):
            broken = faults(session, keys)
        if broken:
            raise SealingFailed("Nothing was changed. " + " ".join(broken))
        keys.replace(keys.load().with_new_key())  # 1. both open, the new one seals
        ring = keys.load()
        with writing(session):  # 2. nothing needs the old ones any more
            lock(session, "pg_advisory_xact_lock")
            count = _seal_anew(session, ring)
            record(session, clock(), actor, "sealing.rotated", ring.keys[0].id, details={"values": count})
        keys.replace(ring.newest_only())  # 3. they go
    return count


def _seal_anew(session: AnySession, ring: Ring) -> int:
    values = list(sealed_values(session))
    for value in values:
        if key_id_of(value.sealed) != ring.keys[0].id:
            plain = ring.unseal(value.sealed, value.context)
            (row_id,) = value.column.table.primary_key.columns
            changed = {value.column.name: ring.seal(plain, value.context)}
            statement = update(value.column.table).where(row_id == value.row_id).values(changed)
            session.execute(statement, execution_options=EVERYWHERE)
    return len(values)
