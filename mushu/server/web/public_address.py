"""The address that people reach this server at is a setting, and never what a request says.

Host, `X-Forwarded-Host`, `-Proto` and their like come from whoever asks. Here they are replaced or taken away before
Flask sees them, so that no link, redirect or cookie can follow them, in code of ours or of a library.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from flask import Flask

from mushu.server.config import Settings

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
