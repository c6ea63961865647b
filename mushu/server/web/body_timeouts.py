"""Reads the body of a request with a timeout, which WSGI servers do not have.

A read from the server's stream returns only with bytes, at the end of the body, or when the connection ends. So a
separate thread reads, and the thread of the request waits for it no longer than a client may take. Most small bodies
do without it (`direct_bodies.py`).
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from werkzeug.exceptions import RequestTimeout

from mushu.server.resources.media.storage import CHUNK

#: The first piece that is asked for: most bodies of the API are smaller.
FIRST_PIECE: Final = 4_096
#: Seconds within which a piece must have come for the next one to be larger.
_PROMPT: Final = 0.05
#: Seconds for which a thread without work waits for more.
_IDLE: Final = 30


class Stream(Protocol):
    """What this module needs of `wsgi.input`."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How slow a client may be."""

    #: Seconds for which nothing needs to come.
    patience: float
    #: The least that must come after that, on average.
    bytes_a_second: int

    def allowed(self, size: int) -> float:
        """Return how many seconds a piece of this size may take."""
        return self.patience + size / self.bytes_a_second


class PendingRead:
    """What becomes of one read; what is told first counts. A lock of C, where a `Future` takes four of Python."""

    def __init__(self) -> None:
        self._told: SimpleQueue[bytes | BaseException] = SimpleQueue()

    def tell(self, outcome: bytes | BaseException) -> None:
        self._told.put(outcome)

    def result(self, seconds: float) -> bytes:
        """Wait for what was read. Raises TimeoutError, or what the read raised."""
        try:
            outcome = self._told.get(timeout=seconds)
        except Empty:
            raise TimeoutError from None
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class Readers:
    """Threads that wait for bytes: one for each body that is being read; none outlives the process."""

    def __init__(self) -> None:
        self._reads: SimpleQueue[tuple[Callable[[], bytes], PendingRead]] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0

    def submit(self, read: Callable[[], bytes]) -> PendingRead:
        """Begin a read. If the caller gives up, the thread goes on waiting until the connection ends."""
        pending = PendingRead()
        with self._lock:
            needed = self._idle == 0
            if not needed:
                self._idle -= 1
        self._reads.put((read, pending))
        if needed:
            threading.Thread(target=self._work, name="body", daemon=True).start()
        return pending

    def _work(self) -> None:
        while True:
            try:
                read, pending = self._reads.get(timeout=_IDLE)
            except Empty:
                with self._lock:
                    if self._idle:
                        self._idle -= 1
                        return
                continue  # it was counted on in this very moment
            _do(read, pending)
            del read, pending  # or the body is kept until the next one comes
            with self._lock:
                self._idle += 1


class PacedBody:
    """The body of one request, read in pieces: small ones from a slow client, for no read can be ended."""

    def __init__(self, source: Stream, readers: Readers, pace: Pace) -> None:
        self._source = source
        self._readers = readers
        self._pace = pace
        self._piece = FIRST_PIECE
        self._began: float | None = None
        self._received = 0
        self._returned = b""
        self._reading: PendingRead | None = None
        #: What ended the reading before the body ended; its connection is of no use any more.
        self.ended_by: Exception | None = None

    def read(self, size: int = -1, /) -> bytes:
        """Return some bytes, `size` at most; nothing at the end; without a size, all that is left.

        Raises:
            RequestTimeout: the client is too slow.
            Busy: another request needs the room.
        """
        if size < 0:
            return b"".join(iter(partial(self.read, CHUNK), b""))
        if self._returned:
            some, self._returned = self._returned[:size], self._returned[size:]
            return some
        return self._next(min(size, self._piece)) if size else b""

    def collect(self, most: int) -> bytes:
        """Return the whole body, or the first `most` bytes of it. Raises what `read` does."""
        pieces, left = [], most
        while left and (piece := self.read(left)):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def put_back(self, beginning: bytes) -> None:
        """Return these bytes again at the next read."""
        self._returned = beginning + self._returned

    def give_way(self, reason: Exception, /) -> None:
        """End the reading from another thread."""
        self.ended_by = reason
        reading = self._reading
        if reading is not None:
            reading.tell(reason)  # where it came in this very moment, the next read ends

    def is_overdue(self, _: float, /) -> bool:
        """Return False: the thread that waits for it looks at the clock itself."""
        return False

    def close(self) -> None:
        """Drop the stream: the server ends the connection of an unread body once nothing refers to it."""
        self._source = BytesIO()

    def _next(self, size: int) -> bytes:
        now = time.monotonic()
        self._began = self._began or now
        self._reading = self._readers.submit(partial(self._source.read, size))
        if self.ended_by is not None:
            raise self.ended_by
        try:
            piece = self._reading.result(self._pace.allowed(size))
        except TimeoutError:
            self.ended_by = RequestTimeout()
            raise self.ended_by from None
        self._received += len(piece)
        self._judge(time.monotonic(), time.monotonic() - now, at_end=not piece)
        return piece

    def _judge(self, now: float, took: float, *, at_end: bool) -> None:
        """Choose the size of the next piece, and end a body that is too slow on average."""
        elapsed = now - (self._began or now) - self._pace.patience
        if not at_end and self._received < elapsed * self._pace.bytes_a_second:
            self.ended_by = RequestTimeout()
            raise self.ended_by
        # What the slowest client may take one wait for: with a larger piece the timeout would not hold.
        most = min(CHUNK, max(FIRST_PIECE, int(self._pace.patience * self._pace.bytes_a_second)))
        self._piece = min(self._piece * 2, most) if took < _PROMPT else max(self._piece // 2, FIRST_PIECE // 4)


def _do(read: Callable[[], bytes], pending: PendingRead) -> None:
    try:
        answer = bytes(read())
    except BaseException as error:  # whatever it is, it belongs to the one who waits
        pending.tell(error)
    else:
        pending.tell(answer)
