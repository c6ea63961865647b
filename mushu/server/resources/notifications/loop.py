"""An event loop on a thread of its own, for work that threads of requests wait for.

httpx's connections for threads share one state of HTTP/2 without a lock, and mix up streams when two threads use one
connection. On one loop only one of them runs at a time.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class BackgroundLoop:
    """Begins with the first call; anew after a fork, because a fork takes no thread along."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._process: int | None = None
        #: Of the process that forked: kept, because letting go of it would close what that one still uses.
        self._inherited: list[asyncio.AbstractEventLoop] = []

    def run(self, act: Coroutine[Any, Any, Result]) -> Result:
        """Have it done on the loop, and wait for it."""
        future = asyncio.run_coroutine_threadsafe(act, self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()  # whoever waited is gone: an interrupt, or the end of the thread
            raise

    def close(self) -> None:
        """End the thread, if there is one; the next call would begin another."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = self._process = None
        if loop is None or thread is None:
            return
        atexit.unregister(self.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._process != os.getpid():
                if self._loop is not None:
                    self._inherited.append(self._loop)
                self._process = os.getpid()
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="apns", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            return self._loop
