"""Headers of answers: those that every answer carries, the entity tag of what never changes, and those of CORS.

Pages of other origins may upload to a signed address, download from one, and nothing else.

A browser lets a page read the answer of another origin only if the headers of CORS allow it. A view allows it with the
decorator below. All other views are closed: a page may send them what any form can send, and never sees the answer.

The decorator is for views whose signed address is the permission. They read no cookie and no credential, so a page gets
nothing through its user's browser that it could not get by itself. Therefore they allow all origins, without
credentials: for `*`, a browser refuses to read an answer to a request with cookies. A page cannot send `Authorization`
either, because the preflight allows `Content-Type` only.
"""

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flask import Flask, Request, Response, request
from flask.globals import request_ctx

from mushu.server.core import resolve_once
from mushu.server.web.guard import PUBLIC, requirement_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

View = TypeVar("View", bound=Callable[..., Any])

#: Where an answer has none of its own.
_EVERYWHERE: Final = {
    # Answers hold keys, tokens and other data that only their reader may have.
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # A page looks for a session, and all answers look alike.
    "Vary": "Cookie",
}
OF_ALL: Final = [*_EVERYWHERE.items()]
#: The headers of a document, as they are made.
OF_DOCUMENT: Final = ["Content-Type", "Content-Length"]
_LOWER: Final = tuple((name.lower(), (name, value)) for name, value in _EVERYWHERE.items())
_MARK: Final = "mushu_cors"
_ORIGIN: Final = ("Access-Control-Allow-Origin", "*")
#: The answer to the preflight (OPTIONS) that a browser sends before a PUT. GET and HEAD need none.
_PREFLIGHT: Final = (("Access-Control-Allow-Methods", "PUT"), ("Access-Control-Allow-Headers", "Content-Type"))


class FixedHeaders:
    """WSGI middleware that adds the headers of every answer, all at once."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            if [name for name, _ in headers] == OF_DOCUMENT:  # as most answers
                return start_response(status, headers + OF_ALL, *exc_info)
            present = {name.lower() for name, _ in headers}
            missing = [header for lower, header in _LOWER if lower not in present]
            return start_response(status, [*headers, *missing], *exc_info)

        return self._app(environ, start)


class CachedResponse:
    """An answer that is the same for everybody until the server restarts: made once, with its entity tag (RFC 9110)."""

    def __init__(self, content: bytes, content_type: str) -> None:
        self._content = content
        self._content_type = content_type
        self._tag = sha256(content).hexdigest()[:32]

    def answer(self) -> Response:
        """Return it, or 304 without a body if the client has it already; within a request."""
        response = Response(self._content, content_type=self._content_type)
        response.set_etag(self._tag)
        response.make_conditional(request)
        return response


def allow_all_origins(view: View) -> View:
    """Let pages of all origins read the answers of a public view, its refusals too.

    Raises:
        TypeError: the view is not public; pages of other origins never read what a credential opens.
    """
    if requirement_of(view) != PUBLIC:
        raise TypeError(f"{view.__name__} is not public, so no page of another origin may read its answers")
    setattr(view, _MARK, True)
    return view


def add_cors_headers(response: Response) -> Response:
    """Add the headers of CORS to the answers of marked views; Flask answers OPTIONS before any view runs."""
    context: Any = resolve_once(request_ctx)
    asked: Request = context.request
    if hasattr(context.app.view_functions.get(asked.endpoint), _MARK):
        response.headers.extend([_ORIGIN, *(_PREFLIGHT if asked.method == "OPTIONS" else ())])
    return response


def install(app: Flask) -> None:
    """Must be called after the middleware whose answers are to have the headers, too."""
    app.wsgi_app = FixedHeaders(app.wsgi_app)  # type: ignore[method-assign]
    app.after_request(add_cors_headers)
