"""Keeps slow clients from holding the server's threads: WSGI middleware before Flask, and the slots of requests.

Requests that only read, and have no body, are always let in: threads are kept for them. All others share `Slots`, each
from its head to the end of its view. If no slot is free, the body that has been waited for longest gives way to the new
request, so that a slow client keeps nobody out. A body that is not large is read whole, with a deadline, before the
request is dispatched; then it keeps its slot. Most are read by the thread of the request (`direct_bodies.py`), the
others by a thread of their own (`body_timeouts.py`).
"""

import time
import weakref
from collections.abc import Iterable, Iterator
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest, RequestTimeout
from werkzeug.wsgi import ClosingIterator

from mushu.server.config import Settings
from mushu.server.core import resolve_once
from mushu.server.errors import Busy
from mushu.server.operation.requests import EXCHANGE, Exchange, has_body, only_reads
from mushu.server.web.body_slots import Slots, busy
from mushu.server.web.body_timeouts import FIRST_PIECE, Pace, PacedBody, Readers
from mushu.server.web.direct_bodies import DirectBody, DirectReads
from mushu.server.web.problems import as_problem

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_REFUSAL: Final = "mushu.refusal"
#: Where the request has its slot already.
_ADMITTED: Final = "mushu.admitted"
#: Seconds that the server has to send an answer before its connection is cut.
_LINGER: Final = 0.05
#: What is told where a refusal fails.
_FAILED: Final[tuple[str, list[tuple[str, str]], bytes]] = "500 Internal Server Error", [], b""

Begun: TypeAlias = tuple[str, list[tuple[str, str]], Iterable[bytes]]


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


class Admission:
    """WSGI middleware around the application."""

    def __init__(self, app: "WSGIApplication", settings: Settings) -> None:
        self._app = app
        self._slots = Slots(settings.bodies)
        self._readers = Readers()
        self._direct = DirectReads(self._slots, self._readers)
        self._most = settings.max_body_bytes
        #: As much as a thread of its own would read at once, so the deadline is the same.
        self._most_direct = min(FIRST_PIECE, self._most)
        self._pace = Pace(settings.stall_seconds, settings.slowest_bytes_a_second)
        #: Made once, and sent without the application: a refusal must cost less than a request.
        self._busy = _written(as_problem(busy()))

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if only_reads(environ) or environ.pop(_ADMITTED, False):
            return self._app(environ, start_response)
        if self.reads_directly(environ):
            whole = self.read_directly(environ, start_response, self._app)
            return self._refuse_at_once(start_response) if whole is None else whole
        body = PacedBody(environ["wsgi.input"], self._readers, self._pace)
        if not self._slots.enter(body):
            return self._refuse_at_once(start_response)
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

    def _refuse_at_once(self, start_response: "StartResponse") -> Iterable[bytes]:
        status, headers, content = self._busy
        start_response(status, headers)
        return content

    def reads_directly(self, environ: "WSGIEnvironment") -> bool:
        """Tell whether the body of a request is to be read in this thread."""
        is_small = 0 < _length(environ) <= self._most_direct and not _is_unusual(environ)
        return is_small and EXCHANGE in environ and self._direct.are_open()

    def read_directly(
        self, environ: "WSGIEnvironment", start_response: "StartResponse", app: "WSGIApplication"
    ) -> Iterable[bytes] | None:
        """Read a small body in this thread, and have `app` answer, unless another thread has to answer first.

        A request that comes here later has its slot already. Returns None where no slot is free.
        """
        exchange, length = cast(Exchange, environ[EXCHANGE]), _length(environ)
        answer_instead = partial(self._answer_instead, environ, start_response, app, exchange)
        body = DirectBody(self._direct, self._pace.allowed(length), answer_instead)
        if not self._slots.enter(body):
            return None
        self._direct.watch()
        environ[_ADMITTED] = True
        try:
            content = environ["wsgi.input"].read(length)
        except Exception:  # whatever it is, the body is not whole
            content = b""
        if not self._slots.arrived(body):
            body.wait_for_answer()
            return []
        exchange.is_read = True
        try:
            if len(content) < length:  # for the server, the end of the connection is the end of the body
                _refuse(environ, BadRequest())
            else:
                environ["wsgi.input"] = BytesIO(content)
            status, headers, answer = _ask(app, environ)
        finally:
            self._slots.leave(body)
        start_response(status, headers)
        return answer

    def _answer_instead(
        self,
        environ: "WSGIEnvironment",
        start_response: "StartResponse",
        app: "WSGIApplication",
        exchange: Exchange,
        body: DirectBody,
        reason: Exception,
    ) -> None:
        """Refuse a request whose own thread reads, and have the server end its connection."""
        status, headers, content = _FAILED
        refused = dict(environ)
        try:
            _refuse(refused, reason)
            status, headers, answer = _ask(app, refused)
            content = b"".join(ClosingIterator(answer))
        finally:
            reason.__traceback__ = reason.__context__ = None
            start_response(status, _promising(len(content) + 1, headers))
            exchange.send(_cut_off(content))
            self._slots.leave(body)

    def _leave(self, environ: "WSGIEnvironment", body: PacedBody) -> None:
        self._slots.leave(body)
        body.close()
        environ.pop("wsgi.input", None)  # the traceback of a refusal keeps `environ` for a while

    def _answer(self, environ: "WSGIEnvironment", body: PacedBody) -> Begun:
        """Return status, headers and body of the answer; until its head is sent, the reading of a body may end."""
        # 1. Have the body, or begin with it where it is large.
        refusal = self._receive(environ, body)
        asks_first = "HTTP_EXPECT" in environ and _length(environ) <= self._most  # it is still waited for
        if not asks_first and not self._slots.arrived(body):
            refusal = refusal or busy()
        if refusal is not None:
            _refuse(environ, refusal)
        # 2. Answer.
        return _ask(self._app, environ)

    def _receive(self, environ: "WSGIEnvironment", body: PacedBody) -> Exception | None:
        """Put the body, or the stream of a large one, into `environ`; return why it is refused, if it is."""
        length = _length(environ)
        if not has_body(environ):
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


def install(app: Flask, settings: Settings) -> Admission:
    """Wrap the application; must be called before the hooks that look at requests are installed."""
    app.before_request(_raise_refusal)
    app.wsgi_app = admission = Admission(app.wsgi_app, settings)  # type: ignore[method-assign]
    return admission


def _ask(app: "WSGIApplication", environ: "WSGIEnvironment") -> Begun:
    """Return status, headers and body of an application's answer."""
    begun: list[tuple[str, list[tuple[str, str]]]] = []

    def begin(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:  # noqa: ARG001
        begun.append((status, headers))

    answer = app(environ, begin)
    return *begun[-1], answer


def _raise_refusal() -> None:
    """Refuse inside the application, so that this refusal looks like all others."""
    refusal = resolve_once(request).environ.get(_REFUSAL)
    if refusal is not None:
        raise refusal


def _refuse(environ: "WSGIEnvironment", refusal: Exception) -> None:
    environ[_REFUSAL] = refusal
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(), "0"


def _is_unusual(environ: "WSGIEnvironment") -> bool:
    """Tell whether a body is of an unknown length, or sent when it is asked for."""
    return "HTTP_TRANSFER_ENCODING" in environ or "HTTP_EXPECT" in environ


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
