"""How often each key was used, when first and last, and from where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import case, select

from mushu.server.db import AnySession, insert_into
from mushu.server.usage.models import KeyUse

_ADDRESS_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class Uses:
    """The uses of one key in some span of time."""

    first: datetime
    last: datetime
    #: Where the last request came from.
    address: str
    requests: int = 1


def add_uses(session: AnySession, counted: Mapping[str, Uses]) -> None:
    """Add what was counted, by key id, to what is known; in one statement, whatever other processes add."""
    statement = insert_into(session, KeyUse).values(
        [
            {
                "key_id": key_id,
                "first_used_at": uses.first,
                "last_used_at": uses.last,
                "last_used_from": uses.address[:_ADDRESS_LENGTH],
                "requests": uses.requests,
            }
            for key_id, uses in sorted(counted.items())  # in one order, or two processes could wait for each other
        ]
    )
    new = statement.excluded
    later, earlier = new.last_used_at >= KeyUse.last_used_at, new.first_used_at < KeyUse.first_used_at
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[KeyUse.key_id],
            set_={
                "first_used_at": case((earlier, new.first_used_at), else_=KeyUse.first_used_at),
                "last_used_at": case((later, new.last_used_at), else_=KeyUse.last_used_at),
                "last_used_from": case((later, new.last_used_from), else_=KeyUse.last_used_from),
                "requests": KeyUse.requests + new.requests,
            },
        )
    )


def uses_of(session: AnySession, key_ids: Sequence[str]) -> dict[str, KeyUse]:
    """Return what is known, by key id; a key that was never used is left out."""
    query = select(KeyUse).where(KeyUse.key_id.in_(key_ids)).execution_options(populate_existing=True)
    return {use.key_id: use for use in session.scalars(query)}
