"""Counts the requests of API keys in one process, and has them added up once a second by a thread of its own.

The counters change hands: a full second's file is added up in one transaction that also notes its name, and is then
removed, while requests are counted in the next one. So a file is added up once, however often it is tried.
"""

import logging
import threading
from collections import deque
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from mushu.process import call_in_children
from mushu.server.usage.counters import CounterFile, Slot
from mushu.server.usage.store import UsageStore

_LOG: Final = logging.getLogger(__name__)
_HOUR: Final = 3_600_000_000
#: Files that wait to be added up at most; beyond it, uses of further keys are not counted.
_MOST_FILES: Final = 16


class Recorder:
    """Counts, and has it written down.

    Args:
        engine: of the database of the keys.
        folder: for the files of counters; None to count in memory alone.
        interval: seconds between two writes by a thread of its own, which begins with the first use that is seen;
            0 for no thread.
    """

    def __init__(self, engine: Engine, folder: Path | None, interval: float) -> None:
        self._store = UsageStore(engine)
        self._folder = folder
        self._interval = interval
        self._ended = threading.Event()
        self._begin()
        call_in_children(self.leave_to_parent)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._file: CounterFile | None = None
        self._full: deque[CounterFile] = deque()
        self._slots: dict[str, Slot] = {}
        self._hour = range(0)
        self._uncounted = 0

    def saw(self, key_id: str, now: datetime, address: str) -> None:
        """Count one request of a key; takes a dictionary look-up's time, and never fails."""
        moment = round(now.timestamp() * 1_000_000)
        with self._lock:
            slot = self._slots.get(key_id) if moment in self._hour else None
            if slot is None:
                slot = self._new_slot(key_id, moment)
            if slot is not None and self._file is not None:
                self._file.saw(slot, moment, address)

    def denied(self, key_id: str, now: datetime, address: str, reason: str) -> None:
        """Count one request that was refused to a key, with the code of the error; never fails."""
        moment = round(now.timestamp() * 1_000_000)
        with self._lock:
            slot = self._slots.get(key_id) if moment in self._hour else None
            if slot is None:
                slot = self._new_slot(key_id, moment)
            if slot is not None and self._file is not None:
                self._file.denied(slot, moment, address, reason)

    def flush(self) -> None:
        """Write down what was counted, here and by processes that have ended; what fails is kept for the next time."""
        with self._writing:
            try:
                self._add_up()
            except (SQLAlchemyError, OSError) as error:
                _LOG.warning("usage could not be written", extra={"cause": type(error).__name__})
            with self._lock:
                uncounted, self._uncounted = self._uncounted, 0
            if uncounted:
                _LOG.warning("requests were not counted", extra={"count": uncounted})

    def close(self) -> None:
        """Write the rest, and end the thread."""
        self._ended.set()
        if self._full or (self._file is not None and self._file.is_used):
            self.flush()
        with self._lock, suppress(OSError):
            if self._file is not None and not self._file.is_used:
                self._file.remove()
                self._file = None

    def _add_up(self) -> None:
        while self._full:
            self._add_first()
        if self._file is not None and self._file.is_used:
            # Made here, so that no request waits for the disk.
            following = CounterFile(self._folder) if self._interval > 0 and not self._ended.is_set() else None
            with self._lock:
                self._put_away(self._file)
                self._file = following
        while self._full:
            self._add_first()
        if self._folder is not None:
            self._store.add_left(self._folder)
        self._store.note_first_uses()

    def _add_first(self) -> None:
        file = self._full[0]
        self._store.add(file.name, file.counts())
        self._full.popleft()
        with suppress(OSError):  # found later, among those that were left
            file.remove()
            self._store.forget(file.name)

    def _new_slot(self, key_id: str, moment: int) -> Slot | None:
        if self._thread is None and self._interval > 0:  # here, because a fork takes no thread along
            self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
            self._thread.start()
        if moment not in self._hour:  # what was counted of the hour before stays apart from it
            self._slots.clear()
            self._hour = range(moment - moment % _HOUR, moment - moment % _HOUR + _HOUR)
        if self._file is None:
            self._file = CounterFile(self._folder)
        slot = self._file.slot(key_id)
        if slot is None and len(self._full) < _MOST_FILES:
            self._put_away(self._file)
            self._file = CounterFile(self._folder)
            slot = self._file.slot(key_id)
        if slot is None:
            self._uncounted += 1
        else:
            self._slots[key_id] = slot
        return slot

    def _put_away(self, file: CounterFile) -> None:
        self._full.append(file)
        self._file = None
        self._slots.clear()

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            self.flush()

    def leave_to_parent(self) -> None:
        """Count anew, in a child: what its parent has counted is the parent's."""
        files = [*self._full] if self._file is None else [*self._full, self._file]
        self._begin()
        for file in files:
            file.close()
