"""Small bodies that the threads of their requests read themselves: handing them over would cost most of a short answer.

Such a read cannot be ended by the thread that waits in it. If it must end, another thread answers the request in its
stead, and has the server end the connection. So it needs what Granian answers with, which WSGI does not pass on: it is
looked up in the frames of the waiting thread, at that moment only. Where the first request finds nothing there, no body
is read in this way.

The thread waits until the server has ended the connection. A client may delay that a little, so there are threads
beyond all others for as many as have a slot; until these are back, no other small body is read in this way.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from queue import SimpleQueue
from types import FrameType
from typing import Any, Final, TypeAlias

from werkzeug.exceptions import RequestTimeout

from mushu.server.web.body_slots import Slots
from mushu.server.web.body_timeouts import Readers

_LOG: Final = logging.getLogger(__name__)
#: Seconds between two looks at the bodies that are waited for.
LOOK: Final = 0.25
#: Seconds without any body after which nobody looks any more.
_IDLE: Final = 30


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, as Granian has it."""

    protocol: Any
    #: Keeps the status and the headers that the application began its answer with.
    response: Any

    def send(self, content: Iterator[bytes]) -> None:
        """Send the answer; whatever the request's own thread sends later is passed over."""
        self.protocol.response_iter(self.response.status, self.response.headers, content)


def find_exchange(frame: FrameType | None) -> Exchange | None:
    """Return the request that is answered in this frame, or in one that it was called from."""
    while frame is not None:
        if frame.f_globals.get("__name__") == "granian.wsgi" and {"proto", "resp"} <= frame.f_locals.keys():
            return Exchange(frame.f_locals["proto"], frame.f_locals["resp"])
        frame = frame.f_back
    return None


def _exchange_of(thread: int) -> Exchange:
    """Return the request that the thread works on. Raises LookupError."""
    found = find_exchange(sys._current_frames()[thread])  # noqa: SLF001 - documented, for what is rare
    if found is None:
        raise LookupError("The server has no request in this thread.")
    return found


#: Answers a request that ends for this reason.
Answer: TypeAlias = Callable[["DirectBody", Exchange, Exception], None]


class DirectBody:
    """One that the thread which makes this object is going to read.

    Args:
        allowed: seconds that it may take.
        answer: called in another thread, in the context of this one.
    """

    def __init__(self, reads: "DirectReads", allowed: float, answer: Answer) -> None:
        self._reads = reads
        self._allowed = allowed
        self._answer = answer
        self._thread = threading.get_ident()
        self._context = copy_context()
        self._answered: SimpleQueue[BaseException | None] = SimpleQueue()

    def is_overdue(self, waited: float, /) -> bool:
        return waited > self._allowed

    def give_way(self, reason: Exception, /) -> None:
        """Have another thread answer the request; called once, and never after the body has arrived."""
        self._reads.end(lambda: self._context.run(self._end, reason))

    def wait_for_answer(self) -> None:
        """Wait until the other thread has answered; raises what kept it from that."""
        error = self._answered.get()
        self._reads.returned()
        if error is not None:
            raise error

    def _end(self, reason: Exception) -> bytes:
        try:
            self._answer(self, _exchange_of(self._thread), reason)
        except BaseException as error:
            self._answered.put(error)
            raise
        self._answered.put(None)
        return b""


class DirectReads:
    """Those of one process, and the thread that ends the ones that take too long."""

    def __init__(self, slots: Slots, readers: Readers) -> None:
        self._slots = slots
        self._readers = readers
        self._lock = threading.Lock()
        self._possible: bool | None = None
        self._ending = 0
        self._watched = False

    def are_open(self) -> bool:
        """Tell whether the body of the present request may be read so."""
        if self._possible is None:
            self._possible = find_exchange(sys._getframe()) is not None  # noqa: SLF001 - once in a process
        return self._possible and not self._ending

    def watch(self) -> None:
        """See to it that the bodies which are waited for are looked at."""
        if self._watched:
            return
        with self._lock:
            if not self._watched:
                threading.Thread(target=self._run, name="direct bodies", daemon=True).start()
                self._watched = True

    def end(self, ending: Callable[[], bytes]) -> None:
        """Run this in another thread."""
        with self._lock:
            self._ending += 1
        with suppress(RuntimeError):  # no thread can be made now: one that reads takes it when it is free
            self._readers.submit(ending)

    def returned(self) -> None:
        """Take note that a thread whose request another one has answered is back."""
        with self._lock:
            self._ending -= 1

    def _run(self) -> None:
        while True:
            time.sleep(LOOK)
            try:
                for body in self._slots.overdue():
                    body.give_way(RequestTimeout())
            except Exception:
                _LOG.exception("bodies cannot be looked at")
            if self._rests():
                return

    def _rests(self) -> bool:
        """Tell whether this thread is to end: no body has come for long, or another one looks already."""
        if not self._slots.have_rested(_IDLE):
            return False
        self._watched = False  # before the second look: a body that comes after it starts another thread
        if self._slots.have_rested(_IDLE):
            return True
        with self._lock:
            others = self._watched
            self._watched = True
        return others
