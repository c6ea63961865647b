"""Answers good questions about keys before Flask's dispatch: it would take most of the time of an answer.

Only a plain question with a plain answer is answered here. For all else the request goes on, untouched, to the view of
the same address, which says what is wrong; so this module can be taken away without another answer. What is
remembered is in `remembered_answers.py`.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from flask import Flask
from pydantic_core import to_json
from werkzeug.routing import Rule

from mushu.environment import Environment
from mushu.server.answers import Answer
from mushu.server.client_address import Address, read_address, shown, shown_client
from mushu.server.core import Core, gate_reader_in
from mushu.server.errors import Forbidden, MalformedBody, RateLimited
from mushu.server.gate import KeyPrincipal
from mushu.server.gate.credential import read_client, read_headers, read_key
from mushu.server.gate.decision import KeyReport, report
from mushu.server.gate.principal import Identity, identify_by
from mushu.server.keys import Scope
from mushu.server.web.access_log import PRINCIPAL, RULE
from mushu.server.web.api.keys import KeyToValidate, validated
from mushu.server.web.api.verification import (
    Counting,
    KeysToVerify,
    introspected,
    introspection_of,
    reports_of,
    verification_of,
    verified,
)
from mushu.server.web.bodies import whole_form, whole_json
from mushu.server.web.guard import SANDBOX
from mushu.server.web.problems import as_problem
from mushu.server.web.remembered_answers import (
    INTROSPECT,
    VALIDATE,
    VERIFY,
    Remembered,
    RememberedAnswers,
    headers_of,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_VALIDATE: Final = {Environment.LIVE: VALIDATE, Environment.TEST: f"{SANDBOX}{VALIDATE}"}


class FastPath:
    """WSGI middleware between what reads bodies and Flask; `wrapped` answers everything else."""

    def __init__(self, app: Flask, wrapped: "WSGIApplication", core: Core, remembered: RememberedAnswers) -> None:
        self._app = wrapped
        self._flask = app
        self._remembered = remembered
        self._readers = {environment: gate_reader_in(environment, app) for environment in Environment}
        self._reader = self._readers[Environment.LIVE]
        self._counting = Counting.of(app)
        self._clock = core.clock
        self._address_header = core.settings.client_address_header
        self._answers: dict[str, Callable[..., Any]] = {VERIFY: self._verify, INTROSPECT: self._introspect}
        self._answers |= {_VALIDATE[one]: partial(self._validate, one) for one in Environment}
        #: As Flask knows them, once all are there.
        self._rules: dict[str, Rule] = {}

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        make = self._answers.get(environ["PATH_INFO"])
        if make is None or environ["REQUEST_METHOD"] != "POST" or environ.get("QUERY_STRING"):
            return self._app(environ, start_response)
        now = self._clock()
        try:
            answer = make(environ, now)
        except Exception:  # the view meets it again, and says what it is
            answer = None
        if answer is None:
            return self._app(environ, start_response)
        if isinstance(answer, Remembered):
            self._note(environ, answer.asker)
            start_response("200 OK", answer.headers)
            return [answer.content]
        if isinstance(answer, RateLimited):
            return as_problem(answer)(environ, start_response)
        content = to_json(answer) + b"\n"
        start_response("200 OK", headers_of(content))
        return [content]

    def _verify(self, environ: "WSGIEnvironment", now: datetime) -> Answer | Remembered:
        def look() -> Remembered | None:
            asked = KeysToVerify.model_validate(whole_json(environ))
            asker = identify_by(self._reader, now, read_headers, *_sent(environ))
            found = reports_of(self._reader, now, asker_of(asker), asked)
            seen.append((asker_of(asker), found, address := read_address(asked.client_address)))
            if asked.key is None:
                return None
            return _remembered({"results": [verification_of(found[0])]}, asker, found[0], address)

        seen: list[tuple[KeyPrincipal, list[KeyReport], Address | None]] = []
        known = self._remembered.recall_or_remember(environ, now, look)
        if known is not None:
            return known
        asker, found, address = seen[-1]
        answer = verified(self._counting, now, found, address)
        self._count(environ, asker, now)
        return answer

    def _introspect(self, environ: "WSGIEnvironment", now: datetime) -> Answer | Remembered | RateLimited | None:
        def look() -> Remembered | None:
            form = whole_form(environ)
            asker = identify_by(self._reader, now, read_client, *_sent(environ), form.get("client_secret"))
            if not form["token"]:
                raise MalformedBody("The token is missing.")
            found = report(self._reader, now, asker_of(asker), form["token"])
            seen.append((asker_of(asker), found))
            return _remembered(introspection_of(found), asker, found, None)

        seen: list[tuple[KeyPrincipal, KeyReport]] = []
        known = self._remembered.recall_or_remember(environ, now, look)
        if known is not None:
            return known
        asker, found = seen[-1]
        answer = introspected(self._counting, now, found)
        self._count(environ, asker, now)
        return answer

    def _validate(self, environment: Environment, environ: "WSGIEnvironment", now: datetime) -> Remembered | None:
        def look() -> Remembered | None:
            asked = KeyToValidate.model_validate(whole_json(environ))
            identity = identify_by(self._readers[environment], now, read_key, asked.key)
            key = identity.principal
            if not isinstance(key, KeyPrincipal) or key.environment is not environment or key.bounds is not None:
                return None
            return Remembered.of(validated(key), identity.until, key, counts_asker=False)

        return self._remembered.recall_or_remember(environ, now, look)

    def _count(self, environ: "WSGIEnvironment", asker: KeyPrincipal, now: datetime) -> None:
        """Count a request of a key, as the guard does."""
        self._counting.recorder.saw(asker.key_id, now, shown_client(environ, self._address_header))
        self._note(environ, asker)

    def _note(self, environ: "WSGIEnvironment", key: KeyPrincipal) -> None:
        """Leave what the access log tells of the request."""
        environ[PRINCIPAL] = key.key_id
        if not self._rules:
            self._rules = {rule.rule: rule for rule in self._flask.url_map.iter_rules() if rule.rule in self._answers}
        environ[RULE] = self._rules[environ["PATH_INFO"]]


def asker_of(identity: Identity) -> KeyPrincipal:
    """Return who asks, with a key that has the right to, and no bounds.

    Raises:
        Forbidden: the guard decides about it.
    """
    principal = identity.principal
    if not isinstance(principal, KeyPrincipal) or Scope.READ not in principal.scopes or principal.bounds is not None:
        raise Forbidden("The guard decides about this.")
    return principal


def _sent(environ: "WSGIEnvironment") -> tuple[str | None, str | None]:
    return environ.get("HTTP_AUTHORIZATION"), environ.get("HTTP_X_API_KEY")


def _remembered(answer: Answer, asker: Identity, found: KeyReport, address: Address | None) -> Remembered | None:
    """Return the answer about a key; None where it is not good, or is bounded, so that each use is another question."""
    if found.identity is None or found.code is not None or found.identity.principal.bounds is not None:
        return None
    ends = [until for until in (asker.until, found.identity.until) if until is not None]
    return Remembered.of(answer, min(ends, default=None), asker_of(asker), found.key_id, shown(address))


def install(app: Flask, core: Core) -> RememberedAnswers:
    """Must be called before `slow_clients.install`, which reads the bodies."""
    remembered = RememberedAnswers(app, core)
    app.wsgi_app = FastPath(app, app.wsgi_app, core, remembered)  # type: ignore[method-assign]
    return remembered
