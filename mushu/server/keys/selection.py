"""Which keys are meant: by their name, state or scope, as conditions on rows; values may be parameters there."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, and_, func, not_, or_
from sqlalchemy.orm import InstrumentedAttribute

from mushu.environment import Environment
from mushu.keyformat import CREDENTIAL_PATTERN
from mushu.server.errors import Invalid
from mushu.server.keys import Scope
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import State
from mushu.server.paging import Folded

#: Returns what stands for a value in a condition, by a name: the value, or a parameter.
Given: TypeAlias = Callable[[str, Any], Any]

#: The condition that a key is not over for good.
IS_ALIVE: Final = ApiKey.stored_state.not_in([State.REVOKED, State.FAILED])
_SMALL: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
#: Stands before the last four characters where a key is shown.
_LEFT_OUT: Final = "…"


def as_given(_name: str, value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class StateAt:
    """A state, as `ApiKey.state` tells it at a moment."""

    state: State
    now: datetime

    @property
    def condition(self) -> ColumnElement[bool]:
        """The condition that a key is in it."""
        stored = ApiKey.stored_state
        retired = and_(stored == State.RETIRING, ApiKey.retires_at.is_not(None), ApiKey.retires_at <= self.now)
        over = and_(ApiKey.expires_at.is_not(None), ApiKey.expires_at <= self.now)
        match self.state:
            case State.REVOKED:
                return or_(stored == State.REVOKED, retired)
            case State.EXPIRED:
                return and_(stored.in_([State.ACTIVE, State.DISABLED, State.RETIRING]), over, not_(retired))
            case State.PENDING | State.FAILED:
                return stored == self.state
            case _:
                return and_(stored == self.state, not_(over), not_(retired))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which keys of an organization are meant."""

    environments: tuple[Environment, ...] = tuple(Environment)
    #: Include deleted keys, and those that could not be delivered.
    with_deleted: bool = False
    #: Only keys whose name holds this text, in these very letters.
    name: str | None = None
    #: Only keys whose name, id or last four characters hold this text; in names, capitals A to Z count as small.
    search: str | None = None
    #: Only keys in this state; deleted ones are included where they are asked for.
    state: StateAt | None = None
    #: Only keys with this scope, whatever others they have.
    scope: Scope | None = None
    #: Only keys that meet all of these.
    conditions: tuple[ColumnElement[bool], ...] = ()

    def criteria(self, org_id: Any, given: Given = as_given) -> list[ColumnElement[bool]]:
        """Return what these keys of an organization are, but for their environment.

        Args:
            given: returns what stands for a text: itself, or a parameter of a statement that is compiled once.

        Raises:
            Invalid: what is searched is a whole key.
        """
        found = [ApiKey.org_id == org_id, *self.conditions]
        if self.state is not None:
            found.append(self.state.condition)
        elif not self.with_deleted:
            found.append(IS_ALIVE)
        if self.name:
            found.append(holds(ApiKey.name, given("name", self.name)))
        if self.search:
            found.append(_is_searched(*(given(name, part) for name, part in searched(self.search).items())))
        if self.scope is not None:
            found.append(ApiKey.scope_names.contains(self.scope.value))  # no scope's name is part of another's
        return found


def holds(text: ColumnElement[str] | InstrumentedAttribute[str], part: Any) -> ColumnElement[bool]:
    """Return the condition that a text holds this part, in these very letters.

    Not LIKE, which tells capitals apart on one database and not on the other.
    """
    return func.replace(text, part, "") != text


def searched(text: str) -> dict[str, str]:
    """Return what is searched: the text in small letters in names and ids, and as it is in last characters.

    Raises:
        Invalid: it is a whole key.
    """
    if CREDENTIAL_PATTERN.search(text):
        raise Invalid(
            "That is a whole key, and an address keeps what is searched. Search its last four characters.",
            field="search",
        )
    part = text.rpartition(_LEFT_OUT)[2] or text
    return {"small": part.translate(_SMALL), "part": part}


def _is_searched(small: Any, part: Any) -> ColumnElement[bool]:
    return or_(holds(Folded(ApiKey.name), small), holds(ApiKey.id, small), holds(ApiKey.last_four, part))
