"""Who writes next to a SQLite database: threads of one process after another, and processes by asking often.

SQLite lets one write at a time, and has the others ask again: after a millisecond at first, and ever later, up to 100
ms. So who has waited longest is the least likely to be next. With four clients that created keys without a pause, one
creation in a hundred took 600 ms; it takes 50. A process could also be passed over until it gave up.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy.exc import OperationalError

from mushu.process import call_in_children

#: What `PRAGMA busy_timeout` is while a transaction is begun: SQLite pauses for 1, 2 and 5 milliseconds.
ROUND: Final = 8


class WriteTurns:
    """Whose turn it is to write to one database, in this process."""

    def __init__(self) -> None:
        self._begin()
        call_in_children(self._begin)  # nobody there waits for a thread of the parent

    def _begin(self) -> None:
        self.current = threading.Lock()


@contextmanager
def turn_to_write(turns: WriteTurns | None, seconds: float) -> Iterator[None]:
    """Have no other thread of this process write meanwhile.

    Args:
        turns: None where threads need not wait for each other.
        seconds: for how long a turn is waited for; then SQLite decides.
    """
    turn = turns.current if turns is not None else None
    is_held = turn is not None and turn.acquire(timeout=seconds)
    try:
        yield
    finally:
        if turn is not None and is_held:
            turn.release()


def begin_to_write(begin: Callable[[str], object], seconds: float) -> None:
    """Begin a transaction that may write, as soon as no other process does.

    Args:
        begin: executes a statement on a connection whose `busy_timeout` is `ROUND`.
        seconds: for how long it is asked.

    Raises:
        OperationalError: of sqlite3 or SQLAlchemy; others write all the time, or what else SQLite says.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            begin("BEGIN IMMEDIATE")
        except (sqlite3.OperationalError, OperationalError) as error:
            said: Any = error.orig if isinstance(error, OperationalError) else error
            if said.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
        else:
            return
