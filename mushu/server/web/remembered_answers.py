"""Answers about keys that are good, remembered until something is committed, as all that the gate reads is.

A service asks the same about the same key for as long as a client uses it. Such an answer needs nothing of what stands
around the application, so it is given in front of all that, where the log does not have all requests.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from flask import Flask
from pydantic import BaseModel
from pydantic_core import to_json

from mushu.environment import Environment
from mushu.server.answers import Answer
from mushu.server.client_address import name_in_environ, shown_text
from mushu.server.core import Core, gate_reader_in
from mushu.server.gate import KeyPrincipal
from mushu.server.gate.cache import derived_for_now, is_over, reads_at_once, recall_from
from mushu.server.gate.principal import digest_of_sent
from mushu.server.operation.requests import QUICKLY, step_aside
from mushu.server.web.bodies import whole_body
from mushu.server.web.extensions import recorder_of
from mushu.server.web.proxy_headers import REQUEST_ID, chosen
from mushu.server.web.response_headers import OF_ALL
from mushu.server.web.slow_clients import Admission

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

VERIFY: Final = "/api-keys/verify"
INTROSPECT: Final = "/oauth/introspect"
VALIDATE: Final = "/api-keys/validate"
_PATHS: Final = (VERIFY, INTROSPECT, VALIDATE)


@dataclass(frozen=True, slots=True)
class Remembered:
    """The answer to one question, and what is counted each time that it is given."""

    content: bytes
    headers: list[tuple[str, str]]
    #: The moment from which on the answer is another; None: it stays.
    until: datetime | None
    #: Who asks; where anybody may ask, the key that is asked about.
    asker: KeyPrincipal
    #: The key that is asked about, where its use counts, and from where it is used.
    key_id: str | None
    address: str
    counts_asker: bool

    @classmethod
    def of(
        cls, answer: Answer | BaseModel, until: datetime | None, asker: KeyPrincipal, key_id: str | None = None,
        address: str = "", *, counts_asker: bool = True,
    ) -> "Remembered":  # fmt: skip
        """Return an answer that is written as JSON."""
        content = to_json(answer) + b"\n"
        return cls(content, headers_of(content), until, asker, key_id, address, counts_asker)


class RememberedAnswers:
    """Those to questions about one key, by all that they follow from: no credential can be read there."""

    def __init__(self, app: Flask, core: Core) -> None:
        self._reader = gate_reader_in(Environment.LIVE, app)
        self._recall = recall_from(self._reader)
        self._recorder = recorder_of(app)
        self._address = name_in_environ(core.settings.client_address_header)

    def recall(self, environ: "WSGIEnvironment", now: datetime) -> Remembered | None:
        """Return the answer that is remembered, and count its uses; None where there is none."""
        found: Remembered | None = self._recall(_question(environ))
        return None if found is None or is_over(found, now) else self._counted(environ, found, now)

    def recall_or_remember(
        self, environ: "WSGIEnvironment", now: datetime, make: Callable[[], Remembered | None]
    ) -> Remembered | None:
        """Return the answer that is remembered, or that `make` returns, and count its uses; None where it does."""
        found = derived_for_now(self._reader, _question(environ), now, make)
        return None if found is None else self._counted(environ, found, now)

    def are_known_at_once(self) -> bool:
        """Tell whether what is remembered is found without waiting for a writer or for another machine."""
        return reads_at_once(self._reader)

    def _counted(self, environ: "WSGIEnvironment", found: Remembered, now: datetime) -> Remembered:
        if found.key_id is not None:
            self._recorder.saw(found.key_id, now, found.address)
        if found.counts_asker:
            self._recorder.saw(found.asker.key_id, now, shown_text(environ.get(self._address)))
        return found


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
        if not _is_asked(environ):
            return self._app(environ, start_response)
        answered = None
        if self._admission.reads_directly(environ):
            answered = self._admission.read_directly(environ, start_response, self._answer)
        return answered if answered is not None else self._go_on(environ, start_response)

    def answers_quickly(self, environ: "WSGIEnvironment") -> bool:
        """Tell whether a request may be answered from memory once its body is there; `_go_on` is called where not."""
        return _is_asked(environ) and self._remembered.are_known_at_once()

    def _answer(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        try:
            known = self._remembered.recall(environ, self._clock())
        except Exception:  # the view meets it again, and says what it is
            known = None
        if known is None:
            return self._go_on(environ, start_response)
        request_id = chosen(environ.get("HTTP_X_REQUEST_ID", ""))
        start_response("200 OK", [*known.headers, *OF_ALL, (REQUEST_ID, request_id)])
        return [known.content]

    def _go_on(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        step_aside(environ)
        return self._app(environ, start_response)


def _is_asked(environ: "WSGIEnvironment") -> bool:
    return environ["PATH_INFO"] in _PATHS and environ["REQUEST_METHOD"] == "POST" and not environ.get("QUERY_STRING")


def install(app: Flask, core: Core, remembered: RememberedAnswers, admission: Admission) -> None:
    """Must wrap all others; where the log has all requests, each of them goes through it."""
    if core.settings.access_log != "all":
        in_front = InFront(app.wsgi_app, core, remembered, admission)
        app.wsgi_app = in_front  # type: ignore[method-assign]
        setattr(app, QUICKLY, in_front.answers_quickly)
