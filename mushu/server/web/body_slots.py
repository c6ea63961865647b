"""The slots that requests with a body share: who has one, and whose body gives way to a new request."""

import threading
import time
from typing import Final, Protocol

from mushu.server.config import MOST_LEAVING
from mushu.server.errors import Busy

#: A body that has been waited for less long than this, in seconds, does not give way.
FAIR: Final = 0.25


class Awaited(Protocol):
    """A body that is waited for."""

    def give_way(self, reason: Exception, /) -> None: ...

    def is_overdue(self, waited: float, /) -> bool:
        """Tell whether somebody else must end it, after so many seconds."""
        ...


class Slots:
    """Those of one process."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._leaving = 0
        self._lock = threading.Lock()
        #: Bodies that are waited for, and since when; the oldest is the first.
        self._waiting: dict[Awaited, float] = {}
        self._gave_way: set[Awaited] = set()
        self._entered = time.monotonic()

    def enter(self, body: Awaited) -> bool:
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
            self._waiting[body] = self._entered = now
        if oldest is not None:
            oldest.give_way(busy())
        return True

    def arrived(self, body: Awaited) -> bool:
        """Keep the slot until `leave`; return False where it was given to another, or the body was overdue."""
        with self._lock:
            return self._waiting.pop(body, None) is not None

    def overdue(self) -> list[Awaited]:
        """Return the bodies that somebody must end now; they keep their slots, and are told once."""
        now = time.monotonic()
        with self._lock:
            found = [body for body, since in self._waiting.items() if body.is_overdue(now - since)]
            for body in found:
                del self._waiting[body]
        return found

    def have_rested(self, seconds: float) -> bool:
        """Tell whether no body is waited for, and none has come for so long."""
        with self._lock:
            return not self._waiting and time.monotonic() - self._entered > seconds

    def leave(self, body: Awaited) -> None:
        """Free the slot; must be called once for each body that entered."""
        with self._lock:
            self._waiting.pop(body, None)
            if body in self._gave_way:
                self._gave_way.remove(body)
                self._leaving -= 1
            else:
                self._free += 1


def busy() -> Busy:
    """Return why a request got no slot, or lost it."""
    return Busy("Too many requests wait for their bodies or for something else at this moment. Try again shortly.")
