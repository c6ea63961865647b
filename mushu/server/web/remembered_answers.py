"""Answers about keys that are good, remembered until something is committed, as all that the gate reads is.

A service asks the same about the same key for as long as a client uses it. Such an answer needs nothing of what stands
around the application, so it is given in front of all that, where the log does not have all requests.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from flask import Flask
from pydantic_core import to_json

from mushu.environment import Environment
from mushu.server.client_address import name_in_environ, read_address, shown, shown_text
from mushu.server.core import Core, gate_reader_in
from mushu.server.errors import Forbidden
from mushu.server.gate import KeyPrincipal
from mushu.server.gate.cache import derived, recall_from
from mushu.server.gate.credential import Credential, read_client, read_headers
from mushu.server.gate.decision import KeyReport, report
from mushu.server.gate.principal import Identity, digest_of_sent, identify_by
from mushu.server.keys import Scope
from mushu.server.web.api.verification import (
    KeysToVerify,
    introspection_of,
    verification_of,
)
from mushu.server.web.bodies import whole_body, whole_form, whole_json
from mushu.server.web.extensions import recorder_of
from mushu.server.web.proxy_headers import REQUEST_ID, chosen
from mushu.server.web.response_headers import OF_ALL
from mushu.server.web.slow_clients import Admission

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

VERIFY: Final = "/api-keys/verify"
INTROSPECT: Final = "/oauth/introspect"
_PATHS: Final = (VERIFY, INTROSPECT)


@dataclass(frozen=True, slots=True)
class Remembered:
    """The answer to one question, and what is counted each time that it is given."""

    content: bytes
    headers: list[tuple[str, str]]
    asker: KeyPrincipal
    #: The key that is asked about, where its use counts, and from where it is used.
    key_id: str | None
    address: str
    #: The moment from which on the answer is another; None: it stays.
    until: datetime | None


class RememberedAnswers:
    """Those to questions about one key, by all that they follow from: no credential can be read there."""

    def __init__(self, app: Flask, core: Core) -> None:
        self._reader = gate_reader_in(Environment.LIVE, app)
        self._recall = recall_from(self._reader)
        self._recorder = recorder_of(app)
        self._address = name_in_environ(core.settings.client_address_header)
        self._make: dict[str, Callable[[WSGIEnvironment, datetime], Remembered | None]] = {
            VERIFY: self._remember_verification,
            INTROSPECT: self._remember_introspection,
        }

    def recall(self, environ: "WSGIEnvironment", now: datetime) -> Remembered | None:
        """Return the answer that is remembered, and count its uses; None where there is none."""
        found: Remembered | None = self._recall(_question(environ))
        return self._repeated(environ, found, now)

    def recall_or_remember(self, environ: "WSGIEnvironment", now: datetime) -> Remembered | None:
        """Return the answer about one key that is good, and count its uses; None where the question is another."""
        remember = self._make.get(environ["PATH_INFO"])
        if remember is None:
            return None
        found = derived(self._reader, _question(environ), partial(remember, environ, now))
        return self._repeated(environ, found, now)

    def _repeated(self, environ: "WSGIEnvironment", found: Remembered | None, now: datetime) -> Remembered | None:
        if found is None or (found.until is not None and found.until <= now):
            return None
        if found.key_id is not None:
            self._recorder.saw(found.key_id, now, found.address)
        self._recorder.saw(found.asker.key_id, now, shown_text(environ.get(self._address)))
        return found

    def _remember_verification(self, environ: "WSGIEnvironment", now: datetime) -> Remembered | None:
        asked = KeysToVerify.model_validate(whole_json(environ))
        if asked.key is None:
            return None
        scope = Scope(asked.scope) if asked.scope is not None else None
        found = self._remember(read_headers, environ, now, asked.key, scope)
        if found is None:
            return None
        asker, key, until = found
        content = to_json({"results": [verification_of(key)]}) + b"\n"
        return Remembered(
            content, headers_of(content), asker, key.key_id, shown(read_address(asked.client_address)), until
        )

    def _remember_introspection(self, environ: "WSGIEnvironment", now: datetime) -> Remembered | None:
        form = whole_form(environ)
        found = self._remember(read_client, environ, now, form["token"], None, form.get("client_secret"))
        if found is None:
            return None
        asker, key, until = found
        content = to_json(introspection_of(key)) + b"\n"
        return Remembered(content, headers_of(content), asker, key.key_id, shown(None), until)

    def _remember(
        self,
        read: Callable[..., Credential],
        environ: "WSGIEnvironment",
        now: datetime,
        key: str,
        scope: Scope | None,
        *secret: str | None,
    ) -> tuple[KeyPrincipal, KeyReport, datetime | None] | None:
        """Return who asks, what is told of the key, and until when; None where it is not good, or is bounded."""
        sent = environ.get("HTTP_AUTHORIZATION"), environ.get("HTTP_X_API_KEY"), *secret
        identity = identify_by(self._reader, now, read, *sent)
        asker = asker_of(identity)
        found = report(self._reader, now, asker, key, scope)
        if found.identity is None or found.code is not None or found.identity.principal.bounds is not None:
            return None
        ends = [until for until in (identity.until, found.identity.until) if until is not None]
        return asker, found, min(ends, default=None)


def asker_of(identity: Identity) -> KeyPrincipal:
    """Return who asks, with a key that has the right to, and no bounds.

    Raises:
        Forbidden: the guard decides about it.
    """
    principal = identity.principal
    if not isinstance(principal, KeyPrincipal) or Scope.READ not in principal.scopes or principal.bounds is not None:
        raise Forbidden("The guard decides about this.")
    return principal


def _question(environ: "WSGIEnvironment") -> Hashable:
    """Return by what an answer is remembered: all that it follows from, of which no credential can be read."""
    sent = environ.get("HTTP_AUTHORIZATION"), environ.get("HTTP_X_API_KEY")
    asked = environ["PATH_INFO"], environ.get("CONTENT_TYPE")
    return *asked, digest_of_sent(*sent), sha256(whole_body(environ)).digest()


def headers_of(content: bytes) -> list[tuple[str, str]]:
    return [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]


class InFront:
    """WSGI middleware around all others: answers that are remembered need none of them.

    Args:
        wrapped: answers everything else, also when the body is read.
    """

    def __init__(
        self, wrapped: "WSGIApplication", core: Core, remembered: RememberedAnswers, admission: Admission
    ) -> None:
        self._app = wrapped
        self._clock = core.clock
        self._remembered = remembered
        self._admission = admission

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        answered = None
        is_asked = environ["REQUEST_METHOD"] == "POST" and not environ.get("QUERY_STRING")
        if is_asked and environ["PATH_INFO"] in _PATHS and self._admission.reads_directly(environ):
            answered = self._admission.read_directly(environ, start_response, self._answer)
        return answered if answered is not None else self._app(environ, start_response)

    def _answer(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        try:
            known = self._remembered.recall(environ, self._clock())
        except Exception:  # the view meets it again, and says what it is
            known = None
        if known is None:
            return self._app(environ, start_response)
        request_id = chosen(environ.get("HTTP_X_REQUEST_ID", ""))
        start_response("200 OK", [*known.headers, *OF_ALL, (REQUEST_ID, request_id)])
        return [known.content]


def install(app: Flask, core: Core, remembered: RememberedAnswers, admission: Admission) -> None:
    """Must wrap all others; where the log has all requests, each of them goes through it."""
    if core.settings.access_log != "all":
        app.wsgi_app = InFront(app.wsgi_app, core, remembered, admission)  # type: ignore[method-assign]
