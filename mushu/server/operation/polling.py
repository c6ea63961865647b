"""A look at something from time to time, for as long as there is something to see."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

_LOG: Final = logging.getLogger(__name__)


class Poller:
    """Looks in a thread of its own, which ends with the process.

    Args:
        name: of the thread.
        look: is called again and again; returns whether there was something to see.
        seconds: between two looks.
        rests: looks in vain after which it looks no more, until it is told to.
    """

    def __init__(self, name: str, look: Callable[[], bool], seconds: float, rests: int) -> None:
        self._name = name
        self._look = look
        self._seconds = seconds
        self._rests = rests
        self._lock = threading.Lock()
        self._looks = False
        self._told = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> bool:
        """Look from now on; to be called after what is to be seen is there. It costs nothing where it looks already.

        Returns False where the system gives no thread.
        """
        if self._looks:
            return True
        with self._lock:
            if self._thread is None:  # here, because a fork takes no thread along
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return False
                self._thread = thread
            self._looks = True
            self._told.set()
        return True

    def _run(self) -> None:
        vain = 0
        while True:
            self._told.wait()
            vain = 0 if self._sees() else vain + 1
            if vain > self._rests:
                with self._lock:
                    self._looks = False
                    self._told.clear()
                if self._sees():  # it came in this moment
                    self.begin()
                vain = 0
            time.sleep(self._seconds)

    def _sees(self) -> bool:
        try:
            return self._look()
        except Exception:
            _LOG.exception("%s: nothing can be seen", self._name)
            return True
