"""Drift: does every destination still hold the key that the ledger says it holds?

Destinations are read side by side, a page of them at a time, so that neither a slow one nor a long ledger costs more
than it must. What is found is noted in the ledger; nothing is mended here: repair is a rotation of the key.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import Select, func, select

from mushu.destination import Denied, DestinationError
from mushu.destination.registry import OpenDestination
from mushu.destination.safe import SafeDestination
from mushu.destination.target import Target
from mushu.server.clock import Clock
from mushu.server.db import AnySession, reading, writing
from mushu.server.delivery import ledger
from mushu.server.delivery.models import Condition, Delivery, DeliveryState
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import DEAD, State
from mushu.server.side_by_side import side_by_side

#: Destinations that are read at the same time.
SIDE_BY_SIDE: Final = 16
#: Seconds that one may take; longer than a plugin that tries several times needs to give up by itself.
PATIENCE: Final = 60.0
_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """Which keys are looked for: all, those of one organization, or one."""

    org_id: str | None = None
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class DriftResult:
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
class _LedgerRow:
    """One line of the ledger that is to be checked."""

    delivery: Delivery
    key_name: str
    digest: str
    state: str

    def result(self, condition: Condition, detail: str = "") -> DriftResult:
        return DriftResult(self.delivery.key_id, self.key_name, self.state, self.delivery.uri, condition, detail)


@dataclass(slots=True)
class DriftChecker:
    """Checks for drift; owns its transactions, and holds none open while it reads."""

    session: AnySession
    clock: Clock
    open_destination: OpenDestination
    patience: float = PATIENCE

    def count(self, wanted: KeyFilter) -> int:
        """Return how many destinations `check` would look at."""
        with reading(self.session):
            return self.session.scalar(select(func.count()).select_from(_lines(wanted).subquery())) or 0

    def check(self, wanted: KeyFilter) -> Iterator[DriftResult]:
        """Look at every destination of every living key, and yield what was found, in the order of the ledger."""
        last = ""
        while page := self._page(wanted, last):
            acts = [partial(_look_at, line, self._open(line)) for line in page]
            found = side_by_side(acts, SIDE_BY_SIDE, self.patience)
            results = [result or _unanswered(line) for line, result in zip(page, found, strict=True)]
            self._note(page, results)
            yield from results
            last = page[-1].delivery.id

    def _page(self, wanted: KeyFilter, last: str) -> Sequence[_LedgerRow]:
        query = _lines(wanted).where(Delivery.id > last).order_by(Delivery.id).limit(_PAGE)
        with reading(self.session):
            return [_LedgerRow(*row) for row in self.session.execute(query)]

    def _open(self, line: _LedgerRow) -> SafeDestination | str:
        """Return the destination, or why it cannot be opened."""
        try:
            return Target.open(self.open_destination, line.delivery.uri).destination
        except DestinationError as error:
            return str(error)

    def _note(self, page: Sequence[_LedgerRow], results: Sequence[DriftResult]) -> None:
        now = self.clock()
        with writing(self.session):
            for line, result in zip(page, results, strict=True):
                ledger.checked(self.session, line.delivery, result.condition, result.detail or None, now)
        for line in page:  # or a long ledger would gather in the session
            self.session.expunge(line.delivery)


def _lines(wanted: KeyFilter) -> Select[Delivery, str, str, str]:
    query = select(Delivery, ApiKey.name, ApiKey.digest, ApiKey.stored_state).join(ApiKey, ApiKey.id == Delivery.key_id)
    alive = [state for state in State if state not in DEAD]
    query = query.where(Delivery.state == DeliveryState.VERIFIED, Delivery.on_client.is_(False))
    query = query.where(ApiKey.stored_state.in_(alive))
    if wanted.org_id is not None:
        query = query.where(ApiKey.org_id == wanted.org_id)
    if wanted.key_id is not None:
        query = query.where(ApiKey.id == wanted.key_id)
    return query


def _unanswered(line: _LedgerRow) -> DriftResult:
    return line.result(Condition.UNREACHABLE, "It does not answer.")


def _look_at(line: _LedgerRow, destination: SafeDestination | str) -> DriftResult:
    """Read one destination and compare; on a thread of its own, so it touches no session."""
    if isinstance(destination, str):
        return line.result(Condition.UNREACHABLE, destination)
    try:
        held = destination.read().digest
    except Denied as error:
        return line.result(Condition.DENIED, str(error))
    except DestinationError as error:
        return line.result(Condition.UNREACHABLE, str(error))
    if held == line.digest:
        return line.result(Condition.OK)
    if held is None:
        return line.result(Condition.MISSING, "The key is not there any more.")
    return line.result(Condition.DRIFTED, "Something else is there.")
