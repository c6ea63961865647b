"""Where requests are counted in windows: a file of one machine, or a Redis or Valkey of several; both are exact.

The file is an SQLite database of its own, which all processes of the machine count in. A commit to the database of the
keys would empty the gate's cache, so they are not counted there. A process keeps one connection. `synchronous=NORMAL`
writes to the disk at checkpoints only: what was counted outlives every process, and a power cut loses the last moments,
and damages nothing. The file is made when the server starts, and never by a request: where it is taken away, requests
that are to be counted fail.

A Redis or Valkey is reached by the library `limits`, which opens the connection as its URLs say. The library's own
strategies ask for one limit at a time, and count a request in the first that the second refuses. So one script counts
in all or in none. It runs by the clock of the store. An answer that is lost on its way was counted all the same.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

from mushu.server.config import Settings
from mushu.server.errors import ConfigurationError
from mushu.server.instance import make_private
from mushu.server.limiter import Standing, WindowStore
from mushu.server.rate_limits import LimitWindow
from mushu.server.sqlite_writes import ROUND, begin_to_write

#: Seconds that a request waits for those of other processes.
_BUSY: Final = 1.0
#: Windows that are forgotten in one transaction.
_ROUND: Final = 500
_SET_UP: Final = (
    "PRAGMA journal_mode=WAL",
    "CREATE TABLE IF NOT EXISTS windows (name TEXT PRIMARY KEY, used INTEGER NOT NULL, ends REAL) WITHOUT ROWID",
)
_PUT: Final = (
    "INSERT INTO windows (name, used, ends) VALUES (?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET used = excluded.used, ends = excluded.ends"
)
_PREFIX: Final = "mushu:"
#: Seconds that a request waits for a connection, and for an answer.
_WAITS: Final = 1
_NEEDS: Final = "MUSHU_LIMITS_URL is set, and the library for it is not installed: pip install 'limits[redis]'."
_LOOKS: Final = "MUSHU_LIMITS_URL must look like redis://:password@host:6379/0."
#: Each window has three arguments: its amount, its milliseconds, and 1 where the next one is of another request.
#: Answers for each window whether the request passes, what is counted, and the milliseconds that are left.
_TAKE: Final = """
local found, first = {}, 1
for last = 1, #KEYS do
  if ARGV[3 * last] == '1' then
    local passes = 1
    for place = first, last do
      local used = tonumber(redis.call('GET', KEYS[place]) or '0')
      if used >= tonumber(ARGV[3 * place - 2]) then passes = 0 end
    end
    for place = first, last do
      local name, length = KEYS[place], ARGV[3 * place - 1]
      if passes == 1 and redis.call('INCR', name) == 1 and length ~= '0' then redis.call('PEXPIRE', name, length) end
      local left = redis.call('PTTL', name)
      table.insert(found, passes)
      table.insert(found, tonumber(redis.call('GET', name) or '0'))
      table.insert(found, left < 0 and tonumber(length) or left)
    end
    first = last + 1
  end
end
return found
"""


class SqliteWindows:
    """The windows in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._of: tuple[int, int, int] | None = None
        #: Of a parent, which are not closed here: that could end its locks.
        self._inherited: list[sqlite3.Connection] = []

    def make(self) -> None:
        """Make the file where there is none; counting then begins anew.

        Raises:
            OSError, sqlite3.Error: it cannot be made, or what is there is something else.
        """
        if make_private(self._path, ""):
            for ending in ("-wal", "-shm"):  # of a file that is gone
                Path(f"{self._path}{ending}").unlink(missing_ok=True)
        with closing(self._open()) as connection:
            for statement in _SET_UP:
                connection.execute(statement)

    def take(self, requests: Sequence[Sequence[LimitWindow]], now: float) -> list[tuple[bool, list[Standing]]]:
        """Count as `WindowStore` says.

        Raises:
            OSError, sqlite3.Error: the file is gone, damaged, or held by somebody.
        """
        with self._alone():
            connection = self._current()
            begin_to_write(connection.execute, _BUSY)
            try:
                taken = [_take(connection, windows, now) for windows in requests]
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
        return taken

    def check(self) -> str:
        """Return the path of the file; raises what `take` raises."""
        self._path.stat()
        with closing(self._open()) as connection:
            answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            connection.execute("SELECT name, used, ends FROM windows LIMIT 1").fetchall()
        if answer != "ok":
            raise sqlite3.DatabaseError(answer)
        return str(self._path)

    def sweep(self, now: float) -> int:
        """Forget windows that have ended, a few at a time, so that no request waits long."""
        with closing(self._open(ROUND / 1_000)) as connection:
            ended = connection.execute("SELECT name FROM windows WHERE ends <= ?", [now]).fetchall()
            for start in range(0, len(ended), _ROUND):
                begin_to_write(connection.execute, _BUSY)
                some = [(name, now) for (name,) in ended[start : start + _ROUND]]
                connection.executemany("DELETE FROM windows WHERE name = ? AND ends <= ?", some)
                connection.execute("COMMIT")
        return len(ended)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one thread use the connection; one that waits for a held file does not have all others wait in turn."""
        if not self._lock.acquire(timeout=_BUSY):
            raise TimeoutError("others wait for the file")
        try:
            yield
        finally:
            self._lock.release()

    def _current(self) -> sqlite3.Connection:
        """Return the connection of this process to the file that is there at this moment."""
        there = os.stat(self._path)  # noqa: PTH116 - half the time of `Path.stat`
        current = os.getpid(), there.st_dev, there.st_ino
        if self._connection is None or self._of != current:
            before, self._connection = self._connection, None
            if before is not None and self._of is not None and self._of[0] == current[0]:
                before.close()
            elif before is not None:
                self._inherited.append(before)
            self._connection, self._of = self._open(ROUND / 1_000), current
        return self._connection

    def _open(self, busy: float = _BUSY) -> sqlite3.Connection:
        path = f"{self._path.absolute().as_uri()}?mode=rw"
        opened = sqlite3.connect(path, busy, isolation_level=None, check_same_thread=False, uri=True)
        try:
            opened.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.Error:
            opened.close()
            raise
        return opened


class RedisWindows:
    """The windows in one server.

    Args:
        url: as `redis://:password@host:6379/0`, `rediss://…` for TLS, or `redis+unix:///path`.

    Raises:
        ConfigurationError: the library is not installed.
    """

    def __init__(self, url: str) -> None:
        self._server = _server(url)
        self._script = self._server.register_script(_TAKE)
        parts = urlsplit(url)
        self._place = parts.hostname or parts.path

    def take(
        self,
        requests: Sequence[Sequence[LimitWindow]],
        now: float,  # noqa: ARG002
    ) -> list[tuple[bool, list[Standing]]]:
        """Count as `WindowStore` says; raises what the library of the store raises."""
        arguments = [
            (window.amount, (window.seconds or 0) * 1_000, int(window is windows[-1]))
            for windows in requests
            for window in windows
        ]
        found = self._script(
            keys=[_PREFIX + window.name for windows in requests for window in windows],
            args=[number for three in arguments for number in three],
        )
        told = zip(found[::3], found[1::3], found[2::3], strict=True)
        taken = []
        for windows in requests:
            of_each = [next(told) for _ in windows]
            standings = [
                Standing(window, max(0, window.amount - used), None if window.seconds is None else ends_in / 1_000)
                for window, (_, used, ends_in) in zip(windows, of_each, strict=True)
            ]
            taken.append((all(passes for passes, _, _ in of_each), standings))
        return taken

    def make(self) -> None:
        """There is nothing to make."""

    def check(self) -> str:
        """Return the name of the host; raises what `take` raises."""
        self._server.ping()
        return self._place

    def sweep(self, now: float) -> int:  # noqa: ARG002
        """Leave it to the store, which forgets by itself."""
        return 0


def _server(url: str) -> Any:
    """Return the client of the library, which opens no connection yet."""
    try:
        from limits.errors import ConfigurationError as NotInstalled  # here, because it takes long to load
        from limits.storage import RedisStorage
    except ImportError as error:
        raise ConfigurationError(_NEEDS) from error
    try:
        return RedisStorage(url, socket_connect_timeout=_WAITS, socket_timeout=_WAITS).storage
    except NotInstalled as error:
        raise ConfigurationError(_NEEDS) from error
    except (ValueError, OSError) as error:
        raise ConfigurationError(_LOOKS) from error


def open_store(settings: Settings) -> WindowStore:
    """Return where the settings want requests counted; nothing is opened or made.

    Raises:
        ConfigurationError: it cannot be used here.
    """
    return RedisWindows(settings.limits_url) if settings.limits_url else SqliteWindows(settings.limits_path)


def look_at_store(settings: Settings, *, in_use: bool) -> tuple[bool, str]:
    """Tell whether requests can be counted, and where, or what to do about it.

    Args:
        in_use: whether anything has limits.
    """
    try:
        alone = in_use and not settings.uses_sqlite and not settings.limits_url
        others = ", for this machine alone; where there are several, set MUSHU_LIMITS_URL (docs/limits.md)"
        return True, f"counted in {open_store(settings).check()}{others if alone else ''}"
    except ConfigurationError as error:
        return False, error.detail
    except Exception as error:  # each store has errors of its own
        if isinstance(error, FileNotFoundError) and not in_use:
            return True, "nothing has limits; the file for them is made when the server starts"
        advice = f"Stop the server, put {settings.limits_path} back or move it away, and start it: it makes a new one"
        if settings.limits_url:
            advice = "Start the Redis or Valkey of MUSHU_LIMITS_URL, or correct that"
        cause = f"{type(error).__name__}: {error}"
        return False, f"requests of what has limits are answered with 503 ({cause}). {advice}. See docs/limits.md"


def _take(connection: sqlite3.Connection, windows: Sequence[LimitWindow], now: float) -> tuple[bool, list[Standing]]:
    """Count one request in the transaction of the caller."""
    names = [window.name for window in windows]
    asked = f"SELECT name, used, ends FROM windows WHERE name IN ({','.join('?' * len(names))})"  # noqa: S608
    found = {name: (used, ends) for name, used, ends in connection.execute(asked, names)}
    counted = [_counted(window, found.get(window.name), now) for window in windows]
    passes = all(used < window.amount for window, (used, _) in zip(windows, counted, strict=True))
    after = [(used + passes, ends) for used, ends in counted]
    changed = [
        (name, used, ends) for name, (used, ends) in zip(names, after, strict=True) if found.get(name) != (used, ends)
    ]
    if changed:
        connection.executemany(_PUT, changed)
    return passes, [
        Standing(window, max(0, window.amount - used), None if ends is None else ends - now)
        for window, (used, ends) in zip(windows, after, strict=True)
    ]


def _counted(window: LimitWindow, found: tuple[int, float | None] | None, now: float) -> tuple[int, float | None]:
    """Return what is counted in a window at this moment, and when it ends."""
    if window.seconds is None:
        return (0, None) if found is None else (found[0], None)
    ends = now + window.seconds
    if found is None or found[1] is None or found[1] <= now:
        return 0, ends
    # Where the clock was put back, the window goes on, and is not longer than others.
    return found[0], min(found[1], ends)
