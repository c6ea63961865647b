"""Keeps slow clients from holding the server's threads: WSGI middleware before Flask, and the slots of requests.

Requests that only read, and have no body, are always let in: threads are kept for them. All others share `Slots`, each
from its head to the end of its view. If no slot is free, the body that has been waited for longest gives way to the new
request, so that a slow client keeps nobody out. A small body is read whole, with a deadline (`body_timeouts.py`),
before the request is dispatched; then it keeps its slot.

`thread_slot` counts the requests that wait for somebody else: for a client's connection, a storage, or Apple. There are
as many of these slots as the server has threads beyond those of the API, so the API never waits for them.
"""

import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest, RequestTimeout
from werkzeug.wsgi import ClosingIterator

from mushu.server.config import MOST_LEAVING, Settings
from mushu.server.core import get_core
from mushu.server.errors import Busy
from mushu.server.web.body_timeouts import Pace, PacedBody, Readers
from mushu.server.web.problems import as_problem

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_REFUSAL: Final = "mushu.refusal"
#: Seconds that the server has to send an answer before its connection is cut.
_LINGER: Final = 0.05
#: A body that has been waited for less long than this, in seconds, does not give way.
FAIR: Final = 0.25


class Slots:
    """Those of one process."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._leaving = 0
        self._lock = threading.Lock()
        #: Bodies that are waited for, and since when; the oldest is the first.
        self._waiting: dict[PacedBody, float] = {}
        self._gave_way: set[PacedBody] = set()

    def enter(self, body: PacedBody) -> bool:
        """Take a slot for a request whose body is waited for; return whether there was one."""
        now = time.monotonic()
        with self._lock:
            if self._free:
                self._free -= 1
                oldest = None
            else:
                oldest, since = next(iter(self._waiting.items()), (None, now))
                if oldest is None or now - since < FAIR or self._leaving == MOST_LEAVING:
                    return False
                self._leaving += 1
                del self._waiting[oldest]
                self._gave_way.add(oldest)
            self._waiting[body] = now
        if oldest is not None:
            oldest.give_way(busy())
        return True

    def arrived(self, body: PacedBody) -> bool:
        """Keep the slot until `leave`; return False where it was given to another."""
        with self._lock:
            return self._waiting.pop(body, None) is not None

    def leave(self, body: PacedBody) -> None:
        """Free the slot; must be called once for each body that entered."""
        with self._lock:
            self._waiting.pop(body, None)
            if body in self._gave_way:
                self._gave_way.remove(body)
                self._leaving -= 1
            else:
                self._free += 1


class UntilWhole:
    """A body that the application reads itself: it gives way until its last byte has come, and never after that."""

    def __init__(self, body: PacedBody, length: int, slots: Slots) -> None:
        self._body = body
        self._left = length
        self._slots = slots
        self._kept = False

    def read(self, size: int = -1, /) -> bytes:
        """Return what `PacedBody.read` does.

        Raises:
            Busy: the slot was given to another in this very moment; besides what `PacedBody.read` raises.
        """
        piece = self._body.read(size)
        self._left -= len(piece)
        if not self._kept and size and (self._left == 0 or not piece):
            self._kept = self._slots.arrived(self._body)
            if not self._kept:
                raise busy()
        return piece


def busy() -> Busy:
    """Return why a request got no slot, or lost it."""
    return Busy("Too many requests wait for their bodies or for something else at this moment. Try again shortly.")


@contextmanager
def thread_slot() -> Iterator[None]:
    """Hold one of the slots for requests that wait for somebody else; it may end after the request does.

    Raises:
        Busy: no slot is free. Waiting for one would hold a thread that the API needs.
    """
    places = get_core().places
    if not places.acquire(blocking=False):
        raise Busy("Too many files and notifications are on their way at this moment. Try again shortly.")
    try:
        yield
    finally:
        places.release()


class Admission:
    """WSGI middleware around the application."""

    def __init__(self, app: "WSGIApplication", settings: Settings) -> None:
        self._app = app
        self._slots = Slots(settings.bodies)
        self._readers = Readers()
        self._most = settings.max_body_bytes
        self._pace = Pace(settings.stall_seconds, settings.slowest_bytes_a_second)
        #: Made once, and sent without the application: a refusal must cost less than a request.
        self._busy = _written(as_problem(busy()))

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in _SAFE and not _has_body(environ):
            return self._app(environ, start_response)
        body = PacedBody(environ["wsgi.input"], self._readers, self._pace)
        if not self._slots.enter(body):
            start_response(*self._busy[:2])
            return self._busy[2]
        try:
            status, headers, answer = self._answer(environ, body)
            reason = body.ended_by  # asked once: another thread may set it at any time
            content = b"".join(ClosingIterator(answer)) if reason is not None else b""
        except BaseException:
            self._leave(environ, body)
            raise
        if reason is None:
            # The view is done; no thread of a slot waits for the client to take the answer.
            self._leave(environ, body)
            start_response(status, headers)
            return answer
        start_response(status, _promising(len(content) + 1, headers))
        reason.__traceback__ = reason.__context__ = None  # they hold the frames of this request, and so its answer
        last = _cut_off(content)
        # Also if the server drops the answer without closing it; the slot would be lost otherwise.
        return ClosingIterator(last, [weakref.finalize(last, self._leave, environ, body)])

    def _leave(self, environ: "WSGIEnvironment", body: PacedBody) -> None:
        self._slots.leave(body)
        body.close()
        environ.pop("wsgi.input", None)  # the traceback of a refusal keeps `environ` for a while

    def _answer(
        self, environ: "WSGIEnvironment", body: PacedBody
    ) -> tuple[str, list[tuple[str, str]], Iterable[bytes]]:
        """Return status, headers and body of the answer; until its head is sent, the reading of a body may end."""
        # 1. Have the body, or begin with it where it is large.
        refusal = self._receive(environ, body)
        asks_first = "HTTP_EXPECT" in environ and _length(environ) <= self._most  # it is still waited for
        if not asks_first and not self._slots.arrived(body):
            refusal = refusal or busy()
        if refusal is not None:
            _refuse(environ, refusal)
        # 2. Answer.
        begun: list[tuple[str, list[tuple[str, str]]]] = []

        def begin(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:  # noqa: ARG001
            begun.append((status, headers))

        answer = self._app(environ, begin)
        return *begun[-1], answer

    def _receive(self, environ: "WSGIEnvironment", body: PacedBody) -> Exception | None:
        """Put the body, or the stream of a large one, into `environ`; return why it is refused, if it is."""
        length = _length(environ)
        if not _has_body(environ):
            return None
        environ["wsgi.input"] = body
        if length > self._most:  # the application decides whether to read it
            return None
        if "HTTP_EXPECT" in environ:  # the client waits for the application to read it
            environ["wsgi.input"] = UntilWhole(body, length, self._slots)
            return None
        try:
            content = body.collect(length or self._most + 1)
        except (RequestTimeout, Busy) as refusal:
            return refusal
        except OSError:
            return BadRequest()
        if len(content) > self._most:  # of an unknown length
            body.put_back(content)
        elif len(content) < length:  # for the server, the end of the connection is the end of the body
            return BadRequest()
        else:
            environ["wsgi.input"] = BytesIO(content)
        return None


def install(app: Flask, settings: Settings) -> None:
    """Wrap the application; must be called before the hooks that look at requests are installed."""
    app.before_request(_raise_refusal)
    app.wsgi_app = Admission(app.wsgi_app, settings)  # type: ignore[method-assign]


def _raise_refusal() -> None:
    """Refuse inside the application, so that this refusal looks like all others."""
    refusal = request.environ.get(_REFUSAL)
    if refusal is not None:
        raise refusal


def _refuse(environ: "WSGIEnvironment", refusal: Exception) -> None:
    environ[_REFUSAL] = refusal
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(), "0"


def _has_body(environ: "WSGIEnvironment") -> bool:
    return environ.get("CONTENT_LENGTH", "") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ


def _length(environ: "WSGIEnvironment") -> int:
    """Return the Content-Length; zero if there is none, or if it is not a number."""
    announced = environ.get("CONTENT_LENGTH", "")
    return int(announced) if announced.isdecimal() else 0


def _written(response: Response) -> tuple[str, list[tuple[str, str]], list[bytes]]:
    """Return status, headers and body of an answer."""
    return response.status, response.headers.to_wsgi_list(), [response.get_data()]


def _promising(length: int, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers with another length."""
    kept = [(name, value) for name, value in headers if name.lower() not in ("content-length", "connection")]
    return [*kept, ("Content-Length", str(length)), ("Connection", "close")]


def _cut_off(content: bytes) -> Iterator[bytes]:
    """Yield the answer, one byte short of its Content-Length: then the server ends the connection.

    Otherwise it would wait for the rest of the request's body, with the thread that reads it.
    """
    yield content
    time.sleep(_LINGER)
