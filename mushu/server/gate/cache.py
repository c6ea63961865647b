"""What the gate's read found, remembered for as long as SQLite's own wal-index says that nothing was committed.

SQLite changes the header of the wal-index at each commit of each writer, the sqlite3 shell included, before the commit
returns: the first 96 bytes of the `-shm` file, two copies of 48 (https://www.sqlite.org/walformat.html, section 2). So
a row is good while the header is what it was before the row was read and after. Where there is no such header, as on
PostgreSQL, or an unexpected one, each request reads (`docs/decisions/0006-the-gate-reads-on-every-request.md`).
"""

import mmap
import os
import platform
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Final, Protocol, TypeVar, cast

from sqlalchemy import Engine

from mushu.server.environments import Reader
from mushu.server.read_connections import ReadConnections

_COPY: Final = 48
_ASKED: Final = ("journal_mode", "database_list")
#: The first field of a copy, and the byte that says that it was set up.
_VERSION: Final = (3_007_000).to_bytes(4, sys.byteorder)
_IS_SET_UP: Final = 12
#: Where a process sees the writes of others in the order in which they were made.
_MACHINES: Final = ("x86_64", "AMD64")
#: Rows remembered at most.
MOST: Final = 10_000
Derived = TypeVar("Derived")
#: Seconds between two looks whether the file is still the one that SQLite uses.
_LOOK: Final = 1.0


class WalStamp:
    """The header of the wal-index of the database that a connection is open to.

    The connection is held: without one, SQLite would delete the file. To close a descriptor of the file drops SQLite's
    locks in this process (POSIX), so that is left for when the connections are closed as well.

    Raises:
        OSError: the database has no wal-index that can be read here.
    """

    def __init__(self, connection: Any) -> None:
        if sys.platform == "win32" or platform.machine() not in _MACHINES:
            raise OSError("the order of writes is not known for this machine")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()  # so that there is a wal-index
        mode, (_, _, path, *_) = (connection.execute(f"PRAGMA {name}").fetchall()[0] for name in _ASKED)
        if mode != ("wal",):
            raise OSError("the database has no wal-index")
        self._connection = connection
        self._path = Path(f"{path}-shm")
        self._database, self._found = Path(path), Path(path).stat()
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        self._map = mmap.mmap(self._descriptor, 2 * _COPY, prot=mmap.PROT_READ)
        self._look_at = time.monotonic() + _LOOK

    def read(self) -> bytes | None:
        """Return the header; None where the file is not SQLite's any more, or the database is another one."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK
            if not self._is_there():
                return None
        return self._map[:]

    def close(self) -> None:
        self._connection.close()
        self._map.close()
        os.close(self._descriptor)

    def _is_there(self) -> bool:
        try:
            same = os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except OSError:
            return False
        return same and is_same(self._database, self._found)


def is_same(database: Path, opened: os.stat_result) -> bool:
    """Tell whether the file is the one that was opened: connections go on reading one that was taken away."""
    try:
        return os.path.samestat(database.stat(), opened)
    except OSError:
        return False


def is_whole(stamp: bytes) -> bool:
    """Tell whether the header was not being written when it was read, and is of the known form."""
    return stamp[:_COPY] == stamp[_COPY:] and stamp.startswith(_VERSION) and stamp[_IS_SET_UP] == 1


def derived(source: Reader, key: Hashable, make: Callable[[], Derived]) -> Derived:
    """Return what `make` makes of what is stored, and remember it where the rows are remembered.

    It must follow from what is stored and from `key` alone: what also depends on the time is for the caller.
    """
    reads = source.connections
    return reads.derive(key, make) if isinstance(reads, StampedReads) else make()


class Ending(Protocol):
    """What is true until a moment; None: until something is committed."""

    @property
    def until(self) -> datetime | None: ...


Ends = TypeVar("Ends", bound=Ending | None)


def is_over(found: Ending, now: datetime) -> bool:
    return found.until is not None and found.until <= now


def derived_for_now(source: Reader, key: Hashable, now: datetime, make: Callable[[], Ends]) -> Ends:
    """Return what `make` makes of what is stored at this time; remembered as long as it is true, and None never."""
    found = derived(source, key, make)
    return make() if found is not None and is_over(found, now) else found


def recall_from(source: Reader) -> Callable[[Hashable], Any | None]:
    """Return what recalls what was derived by a key; None for what is to be derived anew."""
    reads = source.connections
    return reads.recall if isinstance(reads, StampedReads) else _recall_nothing


def reads_at_once(source: Reader) -> bool:
    """Tell whether a read waits for nobody: beside SQLite's log no writer keeps a reader out."""
    reads = source.connections
    return isinstance(reads, StampedReads) and reads.is_stamped


def _recall_nothing(_: Hashable) -> None:
    """Where nothing is remembered."""


class StampedReads(ReadConnections):
    """Reads that remember what they found, as long as it is true. Keyed by digest: no plaintext stays."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        #: The stamp and its header at which all of this was read: the headers of two databases may be equal.
        self._remembered: tuple[WalStamp | None, bytes, OrderedDict[Hashable, Any]] = (None, b"", OrderedDict())
        self._stamp: WalStamp | None = None
        #: The database as it was last looked at where there is no wal-index.
        self._database = Path(engine.url.database or "")
        self._seen: os.stat_result | None = None
        self._opening = Lock()
        self._open_at = 0.0

    @property
    def is_stamped(self) -> bool:
        return self._stamp is not None

    def fetch(self, statement: str, values: Any, make: Callable[[Any], Sequence[Any]] = list) -> Sequence[Any]:
        """Return what `ReadConnections.fetch` would return at this moment; a statement has one `make`."""
        return self.derive((statement, *values), partial(super().fetch, statement, values, make))

    def derive(self, key: Hashable, make: Callable[[], Derived]) -> Derived:
        """Return what `make` would return at this moment; what is empty or None is not remembered."""
        stamp = self._stamp or self._opened()
        before = self._read(stamp)
        if before is None:
            return make()
        known = self._known(stamp, before, key)
        if known is not None:
            return cast(Derived, known)
        made = make()
        if made and is_whole(before) and stamp is self._stamp and before == self._read(stamp):
            of, then, found = self._remembered
            if of is not stamp or then != before:
                found = OrderedDict()
                self._remembered = (stamp, before, found)
            found[key] = made
            if len(found) > MOST:
                with suppress(KeyError):  # other threads did, too
                    found.popitem(last=False)  # the one that was asked for longest ago
        return made

    def recall(self, key: Hashable) -> Any | None:
        """Return what `derive` would return without making it; None where it would make it."""
        stamp = self._stamp or self._opened()
        now = self._read(stamp)
        return None if now is None else self._known(stamp, now, key)

    def _known(self, stamp: WalStamp | None, now: bytes, key: Hashable) -> Any | None:
        of, then, found = self._remembered
        if of is not stamp or then != now:
            return None
        known = found.get(key)
        if known is not None and len(found) > MOST // 2:  # in the order of use, once some are to be left out
            with suppress(KeyError):  # another thread left it out in this very moment
                found.move_to_end(key)
        return known

    def _read(self, stamp: WalStamp | None) -> bytes | None:
        try:
            read = stamp.read() if stamp is not None else None
        except ValueError:  # another thread closed it
            return None
        if read is None and stamp is not None:
            # Others use another file, and what this process wrote or read would be another database.
            self.engine.dispose()
        return read

    def _opened(self) -> WalStamp | None:
        if time.monotonic() < self._open_at or not self._opening.acquire(blocking=False):
            return None
        connection = None
        try:
            self._open_at = time.monotonic() + _LOOK
            if self._stamp is None:
                self._look_at_the_database()
                connection = self._open()
                self._stamp = WalStamp(connection)
        except (OSError, self.dialect.loaded_dbapi.Error):  # such as a database that is away: asked again in a second
            if connection is not None:
                connection.close()
        finally:
            self._opening.release()
        return self._stamp

    def _look_at_the_database(self) -> None:
        if self._seen is not None and not is_same(self._database, self._seen):
            self.engine.dispose()
        self._seen = self._database.stat() if self._database.is_file() else None

    def _close_idle(self) -> None:
        stamp, self._stamp = self._stamp, None
        if stamp is not None:
            stamp.close()
        super()._close_idle()
