"""Serves what Mushu is measured against, or Mushu itself, with the Granian settings of `script/up`: for `served.py`.

    .venv/bin/python -m bench.bare bare | empty | empty-with-body | mushu

`bare` is Flask with one view that answers a dictionary of 120 bytes, `empty` a WSGI application that does nothing, with
as many headers as Mushu sends. `mushu` is that of `guarded.py`. The others load nothing of Mushu but what serves them,
so that it does not delay their start.
"""

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

from flask import Flask

from mushu.lazy_group import loading
from mushu.server.config import Settings
from mushu.server.operation.requests import AT_ONCE, EXCHANGE, QUICKLY
from mushu.server.operation.serving import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

DOCUMENT = {"status": "ok", "text": "x" * 89}
_BODY = b'{"status":"ok","text":"' + b"x" * 89 + b'"}\n'
_HEADERS = [
    ("Content-Type", "application/json"), ("Content-Length", str(len(_BODY))), ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"), ("X-Content-Type-Options", "nosniff"), ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy", "default-src 'none'"), ("Vary", "Cookie"), ("X-Request-Id", "0" * 32),
]  # fmt: skip


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


def empty_with_body() -> "WSGIApplication":
    """Return a WSGI application that reads what is sent, and answers always the same."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        environ[EXCHANGE].is_read = True
        start_response("200 OK", _HEADERS)
        return [_BODY]

    setattr(answer, QUICKLY, lambda _: True)
    return answer


#: By name: the module, and its function that makes the application.
APPLICATIONS = {
    "bare": ("bench.bare", "bare"),
    "empty": ("bench.bare", "empty"),
    "empty-with-body": ("bench.bare", "empty_with_body"),
    "mushu": ("bench.guarded", "mushu"),
}

if __name__ == "__main__":
    module, name = APPLICATIONS[sys.argv[1]]
    with loading():
        application = getattr(import_module(module), name)
    serve(Settings.load(), application)
