"""Small bodies that the threads of their requests read themselves: handing them over would cost most of a short answer.

Such a read cannot be ended by the thread that waits in it. If it must end, another thread answers the request in its
stead, by its `Exchange`, and has the server end the connection. Under another server there is none, and no body is read
in this way.

The thread waits until the server has ended the connection. A client may delay that a little, so there are threads
beyond all others for as many as have a slot; until these are back, no other small body is read in this way.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import Final, TypeAlias

from werkzeug.exceptions import RequestTimeout

from mushu.server.operation.polling import Poller
from mushu.server.web.body_slots import Slots
from mushu.server.web.body_timeouts import Readers

#: Seconds between two looks at the bodies that are waited for.
LOOK: Final = 0.25
#: Seconds without any body after which nobody looks any more.
_IDLE: Final = 30


#: Answers a request that ends for this reason.
Answer: TypeAlias = Callable[["DirectBody", Exception], None]


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
            self._answer(self, reason)
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
        self._ending = 0
        self._watch = Poller("direct bodies", self._look, LOOK, rests=round(_IDLE / LOOK))

    def are_open(self) -> bool:
        """Tell whether a body may be read so now."""
        return not self._ending

    def watch(self) -> None:
        """See to it that the bodies which are waited for are looked at."""
        self._watch.begin()

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

    def _look(self) -> bool:
        for body in self._slots.overdue():
            body.give_way(RequestTimeout())
        return not self._slots.have_rested(LOOK)
