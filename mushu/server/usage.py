"""Usage: which key was used, when first, when last, from where, how often.

Counted in memory and written in batches, so that counting makes no request wait; a process that dies loses the last
second of it. That a key was used at all decides when the one before it may retire, and is never guessed: what was not
written did not happen.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, ForeignKey, String, case, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, mapped_column

from mushu.server.db import AnySession, Base, UTCDateTime, insert_into, writing
from mushu.server.keys.rotation import note_first_uses

_LOG: Final = logging.getLogger(__name__)
_ADDRESS_LENGTH: Final = 64
#: Keys remembered at most between two writes; beyond it, uses of further keys are not counted until the next.
_MOST_KEYS: Final = 100_000
#: A statement takes some tens of thousands of values, and each key brings five.
_AT_ONCE: Final = 1_000


class KeyUse(Base):
    """What is known of the uses of one key, all workers and machines together."""

    __tablename__ = "key_uses"

    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"), primary_key=True)
    first_used_at: Mapped[datetime] = mapped_column(UTCDateTime)
    last_used_at: Mapped[datetime] = mapped_column(UTCDateTime)
    #: The address that the last request came from.
    last_used_from: Mapped[str] = mapped_column(String(64))
    requests: Mapped[int] = mapped_column(BigInteger)


@dataclass(slots=True)
class Uses:
    """The uses of one key in some span of time, as they are counted."""

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


class Recorder:
    """Counts in memory, and writes it down.

    Args:
        session: opens a session of its own for one write, outside of any transaction.
        interval: seconds between two writes by a thread of its own, which begins with the first use that is seen;
            0 for no thread.
    """

    def __init__(self, session: Callable[[], AbstractContextManager[AnySession]], interval: float) -> None:
        self._session = session
        self._interval = interval
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._uses: dict[str, Uses] = {}
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def saw(self, key_id: str, now: datetime, address: str) -> None:
        """Count one request; takes a dictionary look-up's time, and never fails."""
        with self._lock:
            known = self._uses.get(key_id)
            if known is not None:
                known.last, known.address = now, address
                known.requests += 1
            elif len(self._uses) < _MOST_KEYS:
                self._uses[key_id] = Uses(now, now, address)
            if self._thread is None and self._interval > 0:  # here, because a fork takes no thread along
                self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Write down what was counted; on an error of the database it is kept for the next time."""
        with self._writing:
            with self._lock:
                taken, self._uses = self._uses, {}
            if not taken:
                return
            try:
                self._write(taken)
            except SQLAlchemyError as error:
                _LOG.warning("usage could not be written", extra={"cause": type(error).__name__})
                self._put_back(taken)

    def close(self) -> None:
        """Write the rest, and end the thread."""
        self._ended.set()
        self.flush()

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            self.flush()

    def _write(self, taken: Mapping[str, Uses]) -> None:
        ids = sorted(taken)
        with self._session() as session, writing(session):
            for start in range(0, len(taken), _AT_ONCE):
                some = ids[start : start + _AT_ONCE]
                add_uses(session, {key_id: taken[key_id] for key_id in some})
                note_first_uses(session, {key_id: taken[key_id].first for key_id in some})

    def _put_back(self, taken: Mapping[str, Uses]) -> None:
        with self._lock:
            for key_id, uses in taken.items():
                since = self._uses.setdefault(key_id, uses)
                if since is not uses:
                    since.first = uses.first
                    since.requests += uses.requests
