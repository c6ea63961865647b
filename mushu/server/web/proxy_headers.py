"""Headers that proxies set: which of them this server believes.

The public address of this server is a setting. `Host`, `X-Forwarded-Host` and their like come from whoever asks, so
this module replaces or removes them before Flask sees them: no link, redirect or cookie can follow them. The client's
address comes from the connection, or from the one header that the operator named.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from flask import Flask, request

from mushu.server import client_address
from mushu.server.client_address import Address
from mushu.server.config import Settings
from mushu.server.core import get_core

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

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


def install(app: Flask, settings: Settings) -> None:
    app.wsgi_app = PublicAddress(app.wsgi_app, settings.base_url)  # type: ignore[method-assign]


def current_address() -> Address | None:
    """Return the address of the client of this request, or None where it is not known."""
    return client_address.client_address(request.environ, get_core().settings.client_address_header)
