"""Keys as they were read, for who only shows them; what is told of a key is the same of its row."""

from datetime import datetime, timedelta
from functools import cache
from typing import Final, NamedTuple, Protocol

from mushu.server.keys import Scope
from mushu.server.keys.states import State

_LIVING: Final = (State.ACTIVE, State.DISABLED, State.RETIRING)
_STATES: Final = {state.value: state for state in State}


class _Columns(Protocol):
    @property
    def scope_names(self) -> str: ...
    @property
    def environment(self) -> str: ...
    @property
    def last_four(self) -> str: ...
    @property
    def stored_state(self) -> str: ...
    @property
    def expires_at(self) -> datetime | None: ...
    @property
    def retires_at(self) -> datetime | None: ...


class ToldKey:
    """What is told of a key, by columns that are those of its row."""

    __slots__ = ()

    @property
    def scopes(self: _Columns) -> tuple[Scope, ...]:
        return _scopes_of(self.scope_names)

    @property
    def hint(self: _Columns) -> str:
        """The key as people see it: prefix and last four characters."""
        return f"msk_{self.environment}_…{self.last_four}"

    def state(self: _Columns, now: datetime) -> State:
        """Return the state at `now`; `expired` where the time of a living key is over."""
        stored = _STATES[self.stored_state]
        # Moments first: most keys have none, and it takes longer to name a state than to see that.
        if self.retires_at is not None and self.retires_at <= now and stored is State.RETIRING:
            return State.REVOKED
        if self.expires_at is not None and self.expires_at <= now and stored in _LIVING:
            return State.EXPIRED
        return stored


@cache
def _scopes_of(names: str) -> tuple[Scope, ...]:
    return tuple(Scope(name) for name in names.split(","))  # there are few combinations


def deadline_of(handed_over_at: datetime | None, seconds: int) -> datetime | None:
    """Return until when a successor should have been used; None as long as it is not active."""
    return handed_over_at + timedelta(seconds=seconds) if handed_over_at is not None else None


class KeyBounds(NamedTuple):
    """What only the page of a key shows of it."""

    rotate_every: int | None
    rotate_at: datetime | None
    limits: str | None
    networks: str | None


class _Record(NamedTuple):
    id: str
    name: str
    last_four: str
    scope_names: str
    environment: str
    stored_state: str
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    activated_at: datetime | None
    revoked_at: datetime | None
    retires_at: datetime | None


class KeyRecord(ToldKey, _Record):
    """What a list shows of a key; it is part of no session, and nothing changes it."""

    __slots__ = ()
