"""Structured logs: one JSON object a line, with everything shaped like a credential masked.

The mask is put on the finished line, so that it covers messages, arguments, extras and tracebacks alike.
"""

import errno
import json
import logging
import os
import select
import stat
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from mushu.keyformat import mask
from mushu.terminal import printable

#: The id of the request that is being answered here (`web/proxy_headers.py`); None where none is.
current_request_id: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)

#: They write down addresses and headers of what is sent, which hold device tokens and signatures.
_TALKATIVE: Final = ("httpx", "httpcore", "h2", "hpack")
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
#: Seconds that a reader of standard error may let a write wait.
_PATIENCE: Final = 1
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class JsonFormatter(logging.Formatter):
    """A record as one masked line of JSON: `at`, `level`, `logger`, `message`, the record's extras, `exception`.

    While a request is answered, `request_id` says which.
    """

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        request_id = current_request_id.get()
        if request_id is not None:
            entry["request_id"] = request_id
        entry |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return mask(printable(json.dumps(entry, default=str, ensure_ascii=False)))


def configure(level: str) -> None:
    """Send all logs of this process to stderr, from `level` on; safe to call again."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))


class Sink(Protocol):
    """Where lines of the access log go (`web/access_log.py`)."""

    most: int  # bytes that one write takes

    def write(self, text: bytes) -> int:
        """Write at once, and return how many bytes were written.

        Raises:
            OSError: nothing was.
        """


class StandardError:
    """Where all other logs go. What a pipe takes at once, no other worker can write into."""

    most = select.PIPE_BUF

    def write(self, text: bytes) -> int:
        if sys.stderr is None or sys.stderr.closed:
            raise OSError(errno.EBADF, "standard error is closed")
        descriptor, poll = sys.stderr.fileno(), select.poll()
        poll.register(descriptor, select.POLLOUT)
        if not poll.poll(_PATIENCE * 1000):
            raise OSError(errno.EAGAIN, "nobody reads standard error")
        return os.write(descriptor, text)


class LogFile:
    """A file that belongs to this account alone."""

    most = 1 << 20

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, text: bytes) -> int:
        descriptor = os.open(self._path, _FLAGS, 0o600)
        try:
            status = os.fstat(descriptor)
            # Who may write to its folder could else have another file of this account written to.
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink != 1:
                raise OSError(errno.EPERM, "it is not a file of this account, under one name")
            return os.write(descriptor, text)
        finally:
            os.close(descriptor)
