"""Encryption at rest of what must be read back: the settings of destinations, the keys of push services.

A key and a password are kept as digests and never read back; what is needed in clear again is sealed. The keys that
seal are in a file beside the database (`ring.py`), so a copy of the database alone opens nothing; `flask sealing
rotate` replaces them. Every sealed value is bound to the row it stands in. Which columns hold sealed values, they say
themselves, with what is here. Why it is built like this: `docs/decisions/0007-sealing.md`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, select, text, update

from mushu.server.audit import Actor, record
from mushu.server.clock import Clock
from mushu.server.db import IN_ALL_ENVIRONMENTS, AnySession, Base, reading, writing
from mushu.server.errors import SealingFailed
from mushu.server.sealing.ring import Ring, SealingKeys, key_id_of

#: `mapped_column(…, info=SEALED)`: this column holds sealed values, or None. Its table has one primary key.
SEALED: Final[Mapping[str, bool]] = {"sealed": True}

EVERYWHERE: Final = {IN_ALL_ENVIRONMENTS: True}
#: Names the advisory lock of PostgreSQL under which values are sealed (shared) and sealed anew (alone).
_LOCK: Final = 0x6D757368755F7331


@dataclass(frozen=True, slots=True)
class SealedValue:
    """One sealed value, and its place in the database."""

    column: "Column[Any]"
    row_id: str
    sealed: str

    @property
    def context(self) -> str:
        return context_of(self.column, self.row_id)


def context_of(column: Any, row_id: str) -> str:
    """Return what a value in this place is bound to, as `destinations.sealed_settings dst_…`."""
    return f"{column.table.name}.{column.name} {row_id}"


def ring_to_seal(session: AnySession, keys: SealingKeys) -> Ring:
    """Return the keys to seal with, in the transaction that will write what is sealed; make the first, if it is time.

    Raises:
        SealingFailed: they are damaged, or they are missing although something is sealed.
    """
    # Until this transaction ends, `rotate` does not drop the key that is used in it. SQLite has one writer anyway.
    lock(session, "pg_advisory_xact_lock_shared")
    if not keys.exist() and next(sealed_values(session), None) is None:
        keys.begin()
    return keys.load()


def sealed_values(session: AnySession) -> Iterator[SealedValue]:
    """Return everything that is sealed, table by table."""
    for column in sealed_columns():
        (row_id,) = column.table.primary_key.columns
        query = select(row_id, column).where(column.is_not(None)).order_by(row_id)
        for found in session.execute(query, execution_options=EVERYWHERE).all():
            yield SealedValue(column, *found)


def sealed_columns() -> "list[Column[Any]]":
    tables = Base.metadata.sorted_tables
    return [column for table in tables for column in table.columns if column.info.get("sealed")]


def faults(session: AnySession, keys: SealingKeys) -> list[str]:
    """Return a sentence for each sealed value that does not open, or one about the keys where they are to blame."""
    found = list(sealed_values(session))
    if not found and not keys.exist():
        return []
    try:
        ring = keys.load()
    except SealingFailed as error:
        return [error.detail]
    sentences = []
    for value in found:
        try:
            ring.unseal(value.sealed, value.context)
        except SealingFailed as error:
            sentences.append(error.detail)
    return sentences


def lock(session: AnySession, function: str) -> None:
    if session.connection().dialect.name == "postgresql":
        session.execute(text(f"SELECT {function}({_LOCK})"))


def replace_keys(session: AnySession, clock: Clock, actor: Actor, keys: SealingKeys) -> int:
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
