"""Drift: does every destination still hold the key that the ledger says it holds?

Destinations are read side by side, a page of them at a time, so that neither a slow one nor a long ledger costs more
than it must. What is found is noted in the ledger; nothing is mended here: repair is a rotation of the key.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Select, func, select

from mushu.destination import Denied, Destination, DestinationError
from mushu.server.clock import Clock
from mushu.server.db import AnySession, reading, writing
from mushu.server.delivery import ledger
from mushu.server.delivery.models import Condition, Delivery, DeliveryState
from mushu.server.delivery.opening import OpenDestination, guarded
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import DEAD, State
from mushu.server.side_by_side import side_by_side

#: Destinations that are read at the same time.
SIDE_BY_SIDE: Final = 16
#: Seconds that one may take; longer than a plugin that tries several times needs to give up by itself.
PATIENCE: Final = 60.0
_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Scope:
    """Which keys are looked for: all, those of one organization, or one."""

    org_id: str | None = None
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What was found at one destination of one key."""

    key_id: str
    key_name: str
    #: The stored state of the key: on it depends what can be done about it.
    key_state: str
    uri: str
    condition: Condition
    #: What is wrong, in a sentence for whoever may see the ledger; empty if all is well.
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the ledger that is to be checked."""

    delivery: Delivery
    key_name: str
    digest: str
    state: str

    def look(self, condition: Condition, detail: str = "") -> Look:
        return Look(self.delivery.key_id, self.key_name, self.state, self.delivery.uri, condition, detail)


@dataclass(slots=True)
class Inspector:
    """Checks for drift; owns its transactions, and holds none open while it reads."""

    session: AnySession
    clock: Clock
    open_destination: OpenDestination
    patience: float = PATIENCE

    def count(self, scope: Scope) -> int:
        """Return how many destinations `check` would look at."""
        with reading(self.session):
            return self.session.scalar(select(func.count()).select_from(_lines(scope).subquery())) or 0

    def check(self, scope: Scope) -> Iterator[Look]:
        """Look at every destination of every living key, and yield what was found, in the order of the ledger."""
        last = ""
        while page := self._page(scope, last):
            acts = [partial(_look_at, line, self._open(line)) for line in page]
            found = side_by_side(acts, SIDE_BY_SIDE, self.patience)
            looks = [look or _unanswered(line) for line, look in zip(page, found, strict=True)]
            self._note(page, looks)
            yield from looks
            last = page[-1].delivery.id

    def _page(self, scope: Scope, last: str) -> Sequence[_Line]:
        query = _lines(scope).where(Delivery.id > last).order_by(Delivery.id).limit(_PAGE)
        with reading(self.session):
            return [_Line(*row) for row in self.session.execute(query)]

    def _open(self, line: _Line) -> Destination | str:
        """Return the destination, or why it cannot be opened."""
        try:
            return guarded(partial(self.open_destination, line.delivery.uri))
        except DestinationError as error:
            return str(error)

    def _note(self, page: Sequence[_Line], looks: Sequence[Look]) -> None:
        now = self.clock()
        with writing(self.session):
            for line, look in zip(page, looks, strict=True):
                ledger.checked(self.session, line.delivery, look.condition, look.detail or None, now)
        for line in page:  # or a long ledger would gather in the session
            self.session.expunge(line.delivery)


def _lines(scope: Scope) -> Select[Delivery, str, str, str]:
    query = select(Delivery, ApiKey.name, ApiKey.digest, ApiKey.stored_state).join(ApiKey, ApiKey.id == Delivery.key_id)
    alive = [state for state in State if state not in DEAD]
    query = query.where(Delivery.state == DeliveryState.VERIFIED, Delivery.on_client.is_(False))
    query = query.where(ApiKey.stored_state.in_(alive))
    if scope.org_id is not None:
        query = query.where(ApiKey.org_id == scope.org_id)
    if scope.key_id is not None:
        query = query.where(ApiKey.id == scope.key_id)
    return query


def _unanswered(line: _Line) -> Look:
    return line.look(Condition.UNREACHABLE, "It does not answer.")


def _look_at(line: _Line, destination: Destination | str) -> Look:
    """Read one destination and compare; on a thread of its own, so it touches no session."""
    if isinstance(destination, str):
        return line.look(Condition.UNREACHABLE, destination)
    try:
        held = guarded(destination.read).digest
    except Denied as error:
        return line.look(Condition.DENIED, str(error))
    except DestinationError as error:
        return line.look(Condition.UNREACHABLE, str(error))
    if held == line.digest:
        return line.look(Condition.OK)
    if held is None:
        return line.look(Condition.MISSING, "The key is not there any more.")
    return line.look(Condition.DRIFTED, "Something else is there.")
