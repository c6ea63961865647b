"""Headers that proxies set: which of them this server believes.

The public address of this server is a setting. `Host`, `X-Forwarded-Host` and their like come from whoever asks, so
this module replaces or removes them before Flask sees them: no link, redirect or cookie can follow them. The client's
address comes from the connection, or from the one header that the operator named.
"""

import random
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from flask import Flask, request

from mushu.keyformat import mask
from mushu.server import client_address
from mushu.server.client_address import Address
from mushu.server.config import Settings
from mushu.server.core import get_core
from mushu.server.logs import current_request_id

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID: Final = "X-Request-Id"
_LOWER: Final = REQUEST_ID.lower()
_LENGTH: Final = len(REQUEST_ID)
_WELL_FORMED: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+/:@-]{7,127}")
_PORTS: Final = {"http": 80, "https": 443}
#: What proxies say of the client's side; frameworks read them where they are told to, and here nothing does.
_UNREAD: Final = (
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_SCHEME",
    "HTTP_X_FORWARDED_SSL",
    "HTTP_X_REAL_IP",
)


class PublicAddress:
    """Tells an application that it was asked at the public address, whatever the request says."""

    def __init__(self, app: "WSGIApplication", base_url: str) -> None:
        parts = urlsplit(base_url)
        port = parts.port or _PORTS[parts.scheme]
        self._app = app
        self._told: dict[str, Any] = {
            "wsgi.url_scheme": parts.scheme,
            "HTTP_HOST": parts.netloc,
            "SERVER_NAME": parts.hostname or "",
            "SERVER_PORT": str(port),
        }

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        for name in _UNREAD:
            environ.pop(name, None)
        environ.update(self._told)
        return self._app(environ, start_response)


class RequestIds:
    """Gives each request an id: in its answer as `X-Request-Id`, and in all that is logged while it is answered.

    A proxy in front may have given it one already, under which both logs tell of it. That is taken if it is well
    formed; anything else is left out, for it is written into logs and answers.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        request_id = chosen(environ.get("HTTP_X_REQUEST_ID", ""))

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            others = [header for header in headers if len(header[0]) != _LENGTH or header[0].lower() != _LOWER]
            return start_response(status, [*others, (REQUEST_ID, request_id)], *exc_info)

        before = current_request_id.set(request_id)
        try:
            return self._app(environ, start)
        finally:
            current_request_id.reset(before)


def chosen(sent: str) -> str:
    """Return the id that was sent, or a new one where it is not well formed, or has a credential in it."""
    if sent and _WELL_FORMED.fullmatch(sent) and mask(sent) == sent:
        return sent
    return format(random.getrandbits(128), "032x")  # no secret, so the system is not asked for randomness


def install(app: Flask, settings: Settings) -> None:
    """Must wrap what the others answer, so that it has an id, too."""
    app.wsgi_app = RequestIds(PublicAddress(app.wsgi_app, settings.base_url))  # type: ignore[method-assign]


def current_address() -> Address | None:
    """Return the address of the client of this request, or None where it is not known."""
    return client_address.client_address(request.environ, get_core().settings.client_address_header)
