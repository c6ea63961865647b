"""How many requests of one process may hold a thread while they wait.

`Slots` counts the requests that have a body or change something. Each holds its slot from its head until its view is
done. If no slot is free, the body that has been waited for longest gives way to the new request, so that a slow client
keeps nobody out. A request whose body has arrived keeps its slot.

`thread_slot` counts the requests that wait for somebody else: for a client's connection, a storage, or Apple. There are
as many of these slots as the server has threads beyond those of the API, so the API never waits for them.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mushu.server.config import MOST_LEAVING
from mushu.server.core import get_core
from mushu.server.errors import Busy
from mushu.server.web.body_timeouts import PacedBody

#: A body that has been waited for less long than this, in seconds, does not give way.
FAIR: Final = 0.25


class Slots:
    """Those of one process."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._leaving = 0
        self._lock = threading.Lock()
        #: Bodies that are waited for, and since when; the oldest is the first.
        self._waiting: dict[PacedBody, float] = {}
        self._gave_way: set[PacedBody] = set()

    def enter(self, body: PacedBody) -> bool:
        """Take a slot for a request whose body is waited for; return whether there was one."""
        now = time.monotonic()
        with self._lock:
            if self._free:
                self._free -= 1
                oldest = None
            else:
                oldest, since = next(iter(self._waiting.items()), (None, now))
                if oldest is None or now - since < FAIR or self._leaving == MOST_LEAVING:
                    return False
                self._leaving += 1
                del self._waiting[oldest]
                self._gave_way.add(oldest)
            self._waiting[body] = now
        if oldest is not None:
            oldest.give_way(busy())
        return True

    def arrived(self, body: PacedBody) -> bool:
        """Keep the slot until `leave`; return False where it was given to another."""
        with self._lock:
            return self._waiting.pop(body, None) is not None

    def leave(self, body: PacedBody) -> None:
        """Free the slot; must be called once for each body that entered."""
        with self._lock:
            self._waiting.pop(body, None)
            if body in self._gave_way:
                self._gave_way.remove(body)
                self._leaving -= 1
            else:
                self._free += 1


class UntilWhole:
    """A body that the application reads itself: it gives way until its last byte has come, and never after that."""

    def __init__(self, body: PacedBody, length: int, slots: Slots) -> None:
        self._body = body
        self._left = length
        self._slots = slots
        self._kept = False

    def read(self, size: int = -1, /) -> bytes:
        """Return what `PacedBody.read` does.

        Raises:
            Busy: the slot was given to another in this very moment; besides what `PacedBody.read` raises.
        """
        piece = self._body.read(size)
        self._left -= len(piece)
        if not self._kept and size and (self._left == 0 or not piece):
            self._kept = self._slots.arrived(self._body)
            if not self._kept:
                raise busy()
        return piece


def busy() -> Busy:
    """Return why a request got no slot, or lost it."""
    return Busy("Too many requests wait for their bodies or for something else at this moment. Try again shortly.")


@contextmanager
def thread_slot() -> Iterator[None]:
    """Hold one of the slots for requests that wait for somebody else; it may end after the request does.

    Raises:
        Busy: no slot is free. Waiting for one would hold a thread that the API needs.
    """
    places = get_core().places
    if not places.acquire(blocking=False):
        raise Busy("Too many files and notifications are on their way at this moment. Try again shortly.")
    try:
        yield
    finally:
        places.release()
