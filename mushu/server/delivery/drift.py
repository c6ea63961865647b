"""Drift: does every destination still hold the key that the ledger says it holds?

Destinations are read in parallel, a page of them at a time, so that neither a slow one nor a long ledger costs more
than it must. What is found is noted in the ledger; nothing is repaired here: a rotation of the key does that.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, InvalidStateError, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import Final, TypeVar

from sqlalchemy import Select, func, select

from mushu.destination import Denied, DestinationError, Location
from mushu.destination.registry import OpenDestination
from mushu.destination.safe import SafeDestination, remarks
from mushu.destination.target import DeliveredKey, open_safely
from mushu.server.clock import Clock
from mushu.server.db import AnySession, reading, writing
from mushu.server.delivery import ledger
from mushu.server.delivery.models import Condition, Delivery, DeliveryState
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import DEAD, State

#: Destinations that are read at the same time.
AT_ONCE: Final = 16
#: Seconds that one may take; longer than a plugin that tries several times needs to give up by itself.
PATIENCE: Final = 60.0
_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """Which keys are looked for, and where: all, those of one organization, or one; anywhere, or at one URI."""

    org_id: str | None = None
    key_id: str | None = None
    uri: str | None = None


@dataclass(frozen=True, slots=True)
class DriftResult:
    """What was found at one destination of one key."""

    key_id: str
    key_name: str
    #: The stored state of the key: on it depends what can be done about it.
    key_state: str
    uri: str
    condition: Condition
    #: What is wrong, or what to know of a key that is there, for whoever may see the ledger; empty if all is well.
    detail: str = ""
    #: Where the key was seen.
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class _LedgerRow:
    """One line of the ledger that is to be checked."""

    delivery: Delivery
    key_name: str
    digest: str
    state: str

    def result(self, condition: Condition, detail: str = "", location: Location | None = None) -> DriftResult:
        about = (self.delivery.key_id, self.key_name, self.state, self.delivery.uri)
        return DriftResult(*about, condition, detail, location)


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
            found = call_in_parallel(acts, AT_ONCE, self.patience)
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
            return open_safely(self.open_destination, line.delivery.uri)
        except DestinationError as error:
            return str(error)

    def _note(self, page: Sequence[_LedgerRow], results: Sequence[DriftResult]) -> None:
        now = self.clock()
        with writing(self.session):
            looks = list(zip(page, results, strict=True))
            noted = [(line.delivery, result.condition, result.detail or None) for line, result in looks]
            ledger.checked(self.session, noted, now)
            for line, result in looks:
                if result.location is not None:
                    ledger.found(self.session, line.delivery, result.location)
        for line in page:  # or a long ledger would gather in the session
            self.session.expunge(line.delivery)


def _lines(wanted: KeyFilter) -> Select[Delivery, str, str, str]:
    query = select(Delivery, ApiKey.name, ApiKey.digest, ApiKey.stored_state).join(ApiKey, ApiKey.id == Delivery.key_id)
    alive = [state for state in State if state not in DEAD]
    query = query.where(Delivery.state == DeliveryState.VERIFIED, Delivery.on_client.is_(False))
    query = query.where(ApiKey.stored_state.in_(alive))
    if wanted.org_id is not None:
        # As an expression it has no index: through that of the keys, each page would sort the whole ledger of it.
        query = query.where(ApiKey.org_id.concat("") == wanted.org_id)
    if wanted.key_id is not None:
        query = query.where(ApiKey.id == wanted.key_id)
    if wanted.uri is not None:
        query = query.where(Delivery.uri == wanted.uri)
    return query


def _unanswered(line: _LedgerRow) -> DriftResult:
    return line.result(Condition.UNREACHABLE, "It does not answer.")


def _look_at(line: _LedgerRow, destination: SafeDestination | str) -> DriftResult:
    """Read one destination and compare; on a thread of its own, so it touches no session."""
    if isinstance(destination, str):
        return line.result(Condition.UNREACHABLE, destination)
    try:
        holding, location = DeliveredKey(line.delivery.key_id, line.digest, line.delivery.where).look_for(destination)
    except Denied as error:
        return line.result(Condition.DENIED, str(error))
    except DestinationError as error:
        return line.result(Condition.UNREACHABLE, str(error))
    if holding.digest == line.digest:
        return line.result(Condition.OK, remarks(holding, line.delivery.key_id), location)
    if holding.digest is None:
        return line.result(Condition.MISSING, "The key is not there any more.")
    return line.result(Condition.DRIFTED, "Something else is there.")


Result = TypeVar("Result")


def call_in_parallel(acts: Sequence[Callable[[], Result]], width: int, patience: float) -> list[Result | None]:
    """Call all of them on threads, `width` at the same time, and return what they answered, in their order.

    Args:
        patience: seconds that each may take. A thread cannot be stopped: one that takes longer is left behind, makes
            room for the next, and does not outlive the process.

    Returns:
        None for what did not answer in time, or not at all.
    """
    running: dict[Future[Result | None], float] = {}
    begun: list[Future[Result | None]] = []
    for act in acts:
        if len(running) == width:
            _make_room(running)
        future: Future[Result | None] = Future()
        Thread(target=_call, args=(act, future), name="drift", daemon=True).start()
        running[future] = time.monotonic() + patience
        begun.append(future)
    while running:
        _make_room(running)
    return [future.result() for future in begun]


def _make_room(running: dict[Future[Result | None], float]) -> None:
    """Wait until one of them has ended, or the oldest has had its time."""
    oldest, until = next(iter(running.items()))
    ended = wait(running, max(0, until - time.monotonic()), FIRST_COMPLETED).done
    if not ended:
        _end(oldest, None)
        ended = {oldest}
    for future in ended:
        del running[future]


def _call(act: Callable[[], Result], future: Future[Result | None]) -> None:
    try:
        answer = act()
    except BaseException:  # whatever it is, it ends this act and no other
        _end(future, None)
    else:
        _end(future, answer)


def _end(future: Future[Result | None], answer: Result | None) -> None:
    with suppress(InvalidStateError):  # it was given up, or it ended in the very moment in which it would have been
        future.set_result(answer)
