"""Serves what Mushu is measured against, or Mushu itself, with the Granian settings of `script/up`: for `served.py`.

    .venv/bin/python -m bench.bare bare | empty | empty-with-body | mushu

`bare` is Flask with one view that answers a dictionary of 120 bytes, `empty` a WSGI application that does nothing, with
as many headers as Mushu sends. `mushu` has one more endpoint: `/bench` is guarded, and does nothing.
"""

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from flask import Flask
from pydantic import BaseModel

from mushu.server.app import create_app
from mushu.server.config import Settings
from mushu.server.core import Core
from mushu.server.keys import Scope
from mushu.server.operation.requests import AT_ONCE, EXCHANGE, QUICKLY
from mushu.server.operation.serving import serve
from mushu.server.web.guard import requires
from mushu.server.web.routes import Resource, Route

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

DOCUMENT = {"status": "ok", "text": "x" * 89}
_BODY = b'{"status":"ok","text":"' + b"x" * 89 + b'"}\n'
_HEADERS = [
    ("Content-Type", "application/json"), ("Content-Length", str(len(_BODY))), ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"), ("X-Content-Type-Options", "nosniff"), ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy", "default-src 'none'"), ("Vary", "Cookie"), ("X-Request-Id", "0" * 32),
]  # fmt: skip


class Nothing(BaseModel):
    status: str = "ok"


@requires(Scope.READ)
def do_nothing() -> Nothing:
    """Do nothing."""
    return Nothing()


def bare() -> Flask:
    """Return a Flask application with one view, and nothing else."""
    app = Flask("bare")
    app.add_url_rule("/", view_func=lambda: DOCUMENT)
    return app


def empty() -> "WSGIApplication":
    """Return a WSGI application that answers always the same."""

    def answer(_: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        start_response("200 OK", _HEADERS)
        return [_BODY]

    setattr(answer, AT_ONCE, lambda _: (200, _HEADERS, _BODY))
    return answer


def mushu(core: Core | None = None) -> Flask:
    """Return the whole application, with an endpoint that is guarded and does nothing."""
    app = create_app(core)
    app.mount(Resource("bench", [Route("GET", "/bench", do_nothing, Nothing)]))  # type: ignore[attr-defined]
    return app


def empty_with_body() -> "WSGIApplication":
    """Return a WSGI application that reads what is sent, and answers always the same."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        environ[EXCHANGE].is_read = True
        start_response("200 OK", _HEADERS)
        return [_BODY]

    setattr(answer, QUICKLY, lambda _: True)
    return answer


APPLICATIONS: dict[str, "Callable[[], WSGIApplication]"] = {
    "bare": bare,
    "empty": empty,
    "empty-with-body": empty_with_body,
    "mushu": mushu,
}

if __name__ == "__main__":
    serve(Settings.load(), APPLICATIONS[sys.argv[1]])
