"""Structured logs: one JSON object a line, with everything shaped like a credential masked.

The mask is put on the finished line, so that it covers messages, arguments, extras and tracebacks alike.
"""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

from mushu.keyformat import mask
from mushu.terminal import printable

#: The id of the request that is being answered here (`web/proxy_headers.py`); None where none is.
current_request_id: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)

#: They write down addresses and headers of what is sent, which hold device tokens and signatures.
_TALKATIVE: Final = ("httpx", "httpcore", "h2", "hpack")
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


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
