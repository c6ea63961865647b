"""Which of Granian's threads takes requests: one listens, while others answer those that they took, or rest."""

import threading
import time
from typing import Final

from mushu.server.operation.polling import Poller
from mushu.server.operation.thread_pool import PATIENCE

#: Seconds after which Granian ends a thread that has nothing to do, and for how long one is taken to listen still.
IDLE: Final = 30
TRUSTED: Final = 20.0
#: Seconds for which no thread is kept, once one was kept for too long: at first, and at most where it happens again.
_WARY: Final = 0.05
_WARIEST: Final = 5.0
#: So many times as long, all must be well before the next time counts as the first.
_CALM: Final = 10
#: Looks without a body that a thread keeps, after which nobody looks any more.
_RESTS: Final = 200


class Listeners:
    """The threads of one worker.

    Args:
        most: threads that rest at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        #: The thread that takes requests; None: Granian makes one when a request comes.
        self.current: int | None = None
        #: When it was last known to listen.
        self._since = 0.0
        #: Those in whose place another one listens now, and when they were known to listen; the latest is the last.
        self._replaced: dict[int, float] = {}
        self._resting: list[tuple[int, threading.Lock]] = []
        #: Threads that answer and are to listen right after it, and since when.
        self._kept: dict[int, float] = {}
        self._keeps = self._keeps_seen = 0
        self._wary_until, self._wary_for = 0.0, _WARY
        self._watch = Poller("listening threads", self._look, PATIENCE, _RESTS)

    def keep(self, thread: int) -> bool:
        """Have nobody else listen while this thread answers what takes no time; another one does if it takes longer.

        Returns False where it is not the one that listens, or where a body was waited for lately.
        """
        now = time.monotonic()
        with self._lock:
            if thread != self.current or now < self._wary_until:
                return False
            self._kept[thread] = self._since = now
            self._keeps += 1
        return self._watch.begin()

    def leave(self, thread: int) -> None:
        """Have another thread listen, while this one answers; wake one unless another is known to listen still."""
        following, now = None, time.monotonic()
        with self._lock:
            self._forget(thread)
            if self.current not in (None, thread) and now - self._since < TRUSTED:
                return
            self.current, self._since = self._replaced.popitem() if self._replaced else (None, 0.0)
            if self.current is None or now - self._since >= TRUSTED:
                self._replaced.clear()
                self.current, following = self._resting.pop() if self._resting else (None, None)
                self._since = now
        if following is not None:
            following.release()

    def keep_no_more(self, thread: int) -> None:
        """Take note that a thread has answered what it was kept for."""
        with self._lock:
            self._kept.pop(thread, None)

    def come_back(self, thread: int) -> None:
        """Listen in place of any other thread."""
        with self._lock:
            self._take_over(thread, time.monotonic())

    def come_back_or_rest(self, thread: int, *, may_rest: bool = False) -> None:
        """Listen in place of another thread, or rest where another one has done so in place of this.

        It also rests where two others listen, and where it may: who answers in no time is not to be one of several.
        """
        now = time.monotonic()
        with self._lock:
            is_followed = self.current not in (None, thread) and now - self._since < TRUSTED
            is_spare = may_rest or len(self._replaced) > 0  # this one included, if another one listens in its place
            if not (is_followed and is_spare) or len(self._resting) == self._most:
                self._take_over(thread, now)
                return
            self._forget(thread)
            rest = threading.Lock()
            rest.acquire()
            self._resting.append((thread, rest))
        rest.acquire()

    def _take_over(self, thread: int, now: float) -> None:
        if self.current is not None and self.current != thread and self.current not in self._kept:
            self._replaced[self.current] = self._since
        self._forget(thread)
        self.current, self._since = thread, now

    def _forget(self, thread: int) -> None:
        self._kept.pop(thread, None)
        self._replaced.pop(thread, None)

    def _look(self) -> bool:
        """Have others listen in place of the threads that answer for too long; tell whether any was kept."""
        now = time.monotonic()
        with self._lock:
            late = [thread for thread, since in self._kept.items() if now - since >= PATIENCE]
            if late:
                again = now - self._wary_until < _CALM * self._wary_for
                self._wary_for = min(2 * self._wary_for, _WARIEST) if again else _WARY
                self._wary_until = now + self._wary_for
            kept, self._keeps_seen = self._keeps != self._keeps_seen, self._keeps
        for thread in late:
            self.leave(thread)
        return kept
