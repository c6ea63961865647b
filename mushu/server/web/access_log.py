"""The access log: a line of JSON for each request, and one write a second, by a thread that no request waits for.

A line names the route, never the path or the query; and the id of a key or user, never a credential. All that a client
chooses in it is the id of the request, which is checked (`web/proxy_headers.py`). A file is opened for each write, so
that it may be moved at any time. Several workers append whole lines to the same file.
"""

import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from flask import Flask

from mushu.batching import unhurried
from mushu.server.client_address import name_in_environ, shown_text
from mushu.server.config import Settings
from mushu.server.errors import ConfigurationError
from mushu.server.logs import LogFile, Sink, StandardError, current_request_id
from mushu.server.web.extensions import at_end

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Where the application leaves, in the environment of the request, its rule, and the id of the key or user who asks.
RULE: Final = "mushu.rule"
PRINCIPAL: Final = "mushu.principal"
#: Requests that are remembered at most until they are written; further ones are counted.
MOST: Final = 10_000
#: Lines that are made without a rest: a fifth of a millisecond.
_AT_ONCE: Final = 100
_ACCESS_LOG: Final = "mushu_access_log"
_ACCESS_LOG_SECONDS: Final = 1
#: Asked so often that they are in the access log only where all requests are: the gate, and signs of life.
_FREQUENT: Final = frozenset(
    (
        "api-key validation.validate_api_key",
        "sandbox_api-key validation.validate_api_key",
        "api-key verification.verify_api_keys",
        "introspection.introspect_token",
        "health.health",
        "health.ready",
    )
)
_LOG: Final = logging.getLogger(__name__)
#: Others are not repeated: a client may write anything there.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PARAMETER: Final = re.compile(r"<(?:[^<>:]*:)?([^<>:]*)>")
#: Of an address that is read, and a letter more: a longer one is none.
_ADDRESS: Final = 46

#: One request and its answer: the moment, the id of the request, its method, its rule as Flask writes it, the status,
#: its seconds, the length of the body that the answer announces, the key or user, and the client's address. There is
#: no rule where the request was refused before, or nothing is there. A plain tuple takes a third of the time that one
#: with names does, and the garbage collector passes it by.
Access: TypeAlias = tuple[float, str | None, str, str | None, str, float, str | None, str | None, str]


class AccessLog:
    """Remembers requests, and writes them.

    Args:
        sink: where to.
        interval: seconds between two writes by a thread of its own, which begins with the first request; 0: no thread.
    """

    def __init__(self, sink: Sink, interval: float) -> None:
        self._sink = sink
        self._interval = interval
        self._accesses: deque[Access] = deque()
        self._missing = 0
        self._unwritten: deque[bytes] = deque()
        self._torn = False
        self._failing = False
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def add(self, access: Access) -> None:
        """Remember a request; never fails, and waits for nothing."""
        if len(self._accesses) < MOST:
            self._accesses.append(access)
        else:
            with self._lock:
                self._missing += 1
        if self._thread is None and self._interval > 0:  # here, because a fork takes no thread along
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="access log", daemon=True)
                    self._thread.start()
        if self._ended.is_set():
            self.flush()

    def flush(self) -> None:
        """Write what is remembered; what cannot be written is kept for the next time."""
        with self._writing:
            try:
                self._write(self._unwritten)
                self._unwritten.extend(_joined(self._lines(), self._sink.most))
                self._write(self._unwritten)
            except OSError as error:
                if not self._failing:
                    _LOG.warning("the access log cannot be written", extra={"cause": error.strerror or str(error)})
                self._failing = True
            else:
                self._failing = False

    def close(self) -> None:
        """Write the rest, and end the thread."""
        self._ended.set()
        self.flush()

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            self.flush()

    def _write(self, unwritten: deque[bytes]) -> None:
        """Write as many of the texts as can be; a line that a full disk tears apart is written again as a whole."""
        while unwritten:
            text = b"\n" + unwritten[0] if self._torn else unwritten[0]
            written = self._sink.write(text)
            whole = text.rfind(b"\n", 0, written) + 1
            self._torn = written > whole
            if rest := text[whole:]:
                unwritten[0] = rest
            else:
                unwritten.popleft()

    def _lines(self) -> Iterator[str]:
        for _ in unhurried(range(len(self._accesses)), _AT_ONCE):
            yield _line(self._accesses.popleft())
        with self._lock:
            missing, self._missing = self._missing, 0
        if missing:
            yield (
                f'{{"at": "{_moment(time.time())}", "level": "WARNING", "logger": "access", '
                f'"message": "requests are missing here", "missing": {missing}}}\n'
            )


def access_log_of(app: Flask) -> AccessLog:
    return cast(AccessLog, app.extensions[_ACCESS_LOG])


def find_access_log(app: Flask) -> AccessLog | None:
    """Return the log of the application, where it has one."""
    return app.extensions.get(_ACCESS_LOG)


def install(app: Flask, settings: Settings) -> None:
    """Wrap the application, unless the log is off; must be called before `proxy_headers.install`, which gives the ids.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    if settings.access_log == "off":
        return
    log = AccessLog(_sink(settings.access_log_file), _ACCESS_LOG_SECONDS)
    app.extensions[_ACCESS_LOG] = log
    at_end(log.close)
    left_out = _FREQUENT if settings.access_log == "api" else frozenset[str]()
    app.wsgi_app = AccessLogged(app.wsgi_app, log, settings.client_address_header, left_out)  # type: ignore[method-assign]


def _sink(path: str) -> Sink:
    if not path:
        return StandardError()
    file = Path(path)
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise ConfigurationError(
            f"The access log {path} cannot be written. Make its folder for the account of the server, or set "
            "MUSHU_ACCESS_LOG_FILE to another path."
        )
    return LogFile(file)


class AccessLogged:
    """WSGI middleware that remembers each request as its answer begins.

    Args:
        address_header: as `client_address.py` takes it.
        left_out: Flask endpoints whose requests are not remembered.
    """

    def __init__(self, app: "WSGIApplication", log: AccessLog, address_header: str, left_out: frozenset[str]) -> None:
        self._app = app
        self._log = log
        self._address = name_in_environ(address_header)
        self._left_out = left_out

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        began = time.perf_counter()
        status = "500"  # what the server answers if the application fails
        headers: list[tuple[str, str]] = []

        def start(told: str, told_headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            nonlocal status, headers
            status, headers = told, told_headers
            return start_response(told, told_headers, *exc_info)

        try:
            return self._app(environ, start)
        finally:
            rule = environ.get(RULE)
            if rule is None or rule.endpoint not in self._left_out:
                self._log.add(
                    (
                        time.time(),
                        current_request_id.get(),
                        environ["REQUEST_METHOD"],
                        rule.rule if rule is not None else None,
                        status,
                        time.perf_counter() - began,
                        dict(headers).get("Content-Length"),
                        environ.get(PRINCIPAL),
                        environ.get(self._address, "")[:_ADDRESS],
                    )
                )


def _line(access: Access) -> str:
    """Return a line of JSON, put together by hand: nothing in it has to be escaped, and `json` takes far longer."""
    at, request_id, method, rule, status, seconds, length, principal, address = access
    if method == "HEAD":
        length = "0"
    return (
        f'{{"at": "{_moment(at)}", "level": "INFO", "logger": "access", '
        f'"request_id": {_quoted(request_id)}, "method": "{method if method in _METHODS else "other"}", '
        f'"route": {_documented(rule)}, "status": {status[:3]}, "milliseconds": {seconds * 1000:.1f}, '
        f'"bytes": {length or "null"}, "principal": {_quoted(principal)}, "address": "{shown_text(address)}"}}\n'
    )


def _quoted(text: str | None) -> str:
    return "null" if text is None else f'"{text}"'


def _moment(at: float) -> str:
    """Return a moment in UTC to the millisecond."""
    seconds, thousandths = divmod(int(at * 1000), 1000)
    return f"{_second(seconds)}.{thousandths:03}+00:00"


@lru_cache
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _joined(lines: Iterable[str], most: int) -> Iterator[bytes]:
    """Yield texts of whole lines, none longer than `most` bytes unless a line is."""
    text = ""
    for line in lines:
        if text and len(text) + len(line) > most:
            yield text.encode()
            text = ""
        text += line
    if text:
        yield text.encode()


@lru_cache
def _documented(rule: str | None) -> str:
    """Return a rule of Flask as the reference writes it: `"/orgs/{org_id}"`."""
    return _quoted(_PARAMETER.sub(r"{\1}", rule) if rule is not None else None)
