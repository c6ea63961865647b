"""What Granian calls for each request: it is answered at once where it waits for nobody, else by other threads.

Granian would have each request taken by one of many threads, and all of them would contend for Python's lock. Here one
of them listens. What an application answers at once it answers there. A request that only reads goes to a `ThreadPool`.
The body of any other is there until Granian's call returns, so the listening thread answers it, once another listens;
where the answer is expected to take no time, no other one does, until it takes longer.

What Granian calls is made by a function of its own that is replaced here. Where that is not as it is known, Granian's
threads answer all (`docs/decisions/0029-threads-of-requests.md`).
"""

import inspect
import logging
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mushu.server.config import Settings
from mushu.server.operation.listeners import Listeners
from mushu.server.operation.thread_pool import Task, ThreadPool

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

_LOG: Final = logging.getLogger(__name__)
#: Where the application finds, in the environment of the request, what it is answered with.
EXCHANGE: Final = "mushu.exchange"
#: The attribute of an application that answers at once, and of one that answers some bodies in no time.
AT_ONCE: Final = "answer_at_once"
QUICKLY: Final = "answers_quickly"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: Granian's function that makes what it calls for each request, and what it is given.
_MADE_BY: Final = "_wsgi_call_wrap"
_PARAMETERS: Final = ["callback", "scope_opts", "access_log_fmt"]

#: The status of an answer, its headers, and its whole body.
WholeAnswer: TypeAlias = tuple[int, list[tuple[str, str]], bytes]
#: Answers what waits for nobody, and None what may have to wait; it must not raise.
AtOnce: TypeAlias = "Callable[[WSGIEnvironment], WholeAnswer | None]"
#: Tells whether the answer to a body will take no time once it is there. Where it does, `step_aside` is called.
Quickly: TypeAlias = "Callable[[WSGIEnvironment], bool]"


class Begun:
    """The `start_response` of WSGI: it keeps what an answer begins with."""

    __slots__ = ("headers", "status")

    def __init__(self) -> None:
        self.status = 200
        self.headers: list[tuple[str, str]] = []

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:  # noqa: ARG002
        self.status = int(status[:3])
        self.headers = headers


@dataclass(slots=True)
class Exchange:
    """One request, as Granian has it."""

    protocol: Any
    begun: Begun
    #: Have other threads take requests and answer, while this one waits for something.
    leave: Callable[[], None]
    #: Whether the body was read to its end; then nothing depends on when Granian's call returns.
    is_read: bool = False

    def send(self, content: Iterable[bytes]) -> None:
        """Send the answer piece by piece; whatever is sent later is passed over."""
        self.protocol.response_iter(self.begun.status, self.begun.headers, _Pieces(content))


class _Pieces:
    """What Granian takes the pieces of an answer from."""

    __slots__ = ("__next__", "_content")

    def __init__(self, content: Iterable[bytes]) -> None:
        self._content = content
        self.__next__ = iter(content).__next__

    def close(self) -> None:
        close = getattr(self._content, "close", None)
        if close is not None:
            close()


class Requests:
    """Answers the requests of one worker.

    Args:
        application: of WSGI. Where it has the attributes `answer_at_once` and `answers_quickly`, these are asked first.
        begin_read: has `answer` called with a task, in another thread.
        listeners: of the threads that call.
    """

    def __init__(
        self, application: "WSGIApplication", begin_read: Callable[[Task], None], listeners: Listeners
    ) -> None:
        self._application = application
        self._at_once: AtOnce | None = getattr(application, AT_ONCE, None)
        self._quickly: Quickly = getattr(application, QUICKLY, _never)
        self._begin_read = begin_read
        self._listeners = listeners
        self._always: WSGIEnvironment = {
            "GATEWAY_INTERFACE": "CGI/1.1",
            "SCRIPT_NAME": "",
            "SERVER_SOFTWARE": "Granian",
            "wsgi.errors": sys.stderr,
            "wsgi.input_terminated": True,
            "wsgi.multiprocess": False,
            "wsgi.multithread": True,
            "wsgi.run_once": False,
            "wsgi.version": (1, 0),
        }

    def __call__(self, protocol: Any, scope: "WSGIEnvironment") -> None:
        thread, environ, is_quick = threading.get_ident(), self._always | scope, False
        found = self._at_once(environ) if self._at_once is not None else None
        if found is not None:
            protocol.response_bytes(*found)
            if has_body(environ):  # which nobody has read
                self._listeners.come_back(thread)  # at once: only by its return, Granian ends the connection
                return
        elif only_reads(environ):
            self._begin_read((protocol, environ))
        else:
            leave = partial(self._listeners.leave, thread)
            is_quick = self._quickly(environ)
            is_kept = is_quick and self._listeners.keep(thread)
            if not is_kept:
                leave()
            if not answer(self._application, protocol, environ, leave).is_read:
                self._listeners.come_back(thread)  # at once: by its return, Granian ends the reading of a body
                return
            if is_kept:
                self._listeners.keep_no_more(thread)
        if thread != self._listeners.current:
            scope.clear()  # what is kept here would keep its connection from the next request
            del environ, protocol, found
            self._listeners.come_back_or_rest(thread, may_rest=is_quick)


def answer(
    application: "WSGIApplication", protocol: Any, environ: "WSGIEnvironment", leave: Callable[[], None] = lambda: None
) -> Exchange:
    """Have the application answer a request."""
    begun = Begun()
    environ[EXCHANGE] = exchange = Exchange(protocol, begun, leave)
    try:
        content = application(environ, begun)
        if isinstance(content, list):
            protocol.response_bytes(begun.status, begun.headers, b"".join(content))
        else:
            exchange.send(content)
    except BaseException:  # whatever it is, the client must not wait for ever
        _LOG.exception("a request failed")
        protocol.response_bytes(500, [], b"")
    return exchange


def step_aside(environ: "WSGIEnvironment") -> None:
    """Have other threads go on, because this one waits for something, or answers for longer than was expected."""
    exchange = environ.get(EXCHANGE)
    if exchange is not None:
        exchange.leave()


def _never(_: "WSGIEnvironment") -> bool:
    return False


def only_reads(environ: "WSGIEnvironment") -> bool:
    """Tell whether a request has no body, and changes nothing."""
    return environ["REQUEST_METHOD"] in _SAFE and not has_body(environ)


def has_body(environ: "WSGIEnvironment") -> bool:
    return environ.get("CONTENT_LENGTH", "") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ


def take_over(settings: Settings) -> None:
    """Have Granian call `Requests` in this process, with the application that it loads."""
    from granian.server import mp

    setattr(mp, _MADE_BY, partial(_made, settings))


def _made(settings: Settings, application: "WSGIApplication", _scope_opts: Any, _access_log_fmt: Any) -> Requests:
    def read(protocol: Any, environ: "WSGIEnvironment") -> None:
        answer(application, protocol, environ, pool.leave)

    # What waits for another machine leaves Python's lock to others.
    waits = not settings.uses_sqlite or settings.limits_url
    at_once = settings.worker_threads if waits else 1
    pool = ThreadPool("reading requests", read, at_once, settings.threads + settings.transfers)
    return Requests(application, pool.submit, Listeners(settings.body_threads))


def can_be_taken_over() -> bool:
    """Tell whether Granian is as it is known here."""
    from granian import Granian
    from granian.server import mp

    made_by = getattr(mp, _MADE_BY, None)
    known = made_by is not None and list(inspect.signature(made_by).parameters) == _PARAMETERS
    return known and issubclass(Granian, mp.MPServer)
