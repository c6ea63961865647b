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
from mushu.server.client_address import shown_client
from mushu.server.core import Core, gate_reader_in
from mushu.server.errors import RateLimited
from mushu.server.gate import KeyPrincipal
from mushu.server.gate.credential import read_client, read_headers, read_key
from mushu.server.gate.principal import identify_by
from mushu.server.web.access_log import PRINCIPAL, RULE
from mushu.server.web.api.keys import KeyToValidate, KeyValidation, validated
from mushu.server.web.api.verification import (
    Counting,
    KeysToVerify,
    introspected,
    verified,
)
from mushu.server.web.bodies import whole_form, whole_json
from mushu.server.web.guard import SANDBOX
from mushu.server.web.problems import as_problem
from mushu.server.web.remembered_answers import INTROSPECT, VERIFY, RememberedAnswers, asker_of, headers_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

VALIDATE: Final = {Environment.LIVE: "/api-keys/validate", Environment.TEST: f"{SANDBOX}/api-keys/validate"}


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
        self._answers |= {VALIDATE[one]: partial(self._validate, one) for one in Environment}
        #: As Flask knows them, once all are there.
        self._rules: dict[str, Rule] = {}

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        make = self._answers.get(environ["PATH_INFO"])
        if make is None or environ["REQUEST_METHOD"] != "POST" or environ.get("QUERY_STRING"):
            return self._app(environ, start_response)
        now = self._clock()
        try:
            known = self._remembered.recall_or_remember(environ, now)
            answer = make(environ, now) if known is None else None
        except Exception:  # the view meets it again, and says what it is
            known = answer = None
        if known is not None:
            self._note(environ, known.asker)
            start_response("200 OK", known.headers)
            return [known.content]
        if answer is None:
            return self._app(environ, start_response)
        if isinstance(answer, RateLimited):
            return as_problem(answer)(environ, start_response)
        content = to_json(answer) + b"\n"
        start_response("200 OK", headers_of(content))
        return [content]

    def _verify(self, environ: "WSGIEnvironment", now: datetime) -> Answer | None:
        asked = KeysToVerify.model_validate(whole_json(environ))
        sent = environ.get("HTTP_AUTHORIZATION"), environ.get("HTTP_X_API_KEY")
        asker = asker_of(identify_by(self._reader, now, read_headers, *sent))
        answer = verified(self._reader, self._counting, now, asker, asked)
        self._count(environ, asker, now)
        return answer

    def _introspect(self, environ: "WSGIEnvironment", now: datetime) -> Answer | RateLimited | None:
        form = whole_form(environ)
        sent = environ.get("HTTP_AUTHORIZATION"), environ.get("HTTP_X_API_KEY"), form.get("client_secret")
        asker = asker_of(identify_by(self._reader, now, read_client, *sent))
        if not form["token"]:
            return None
        answer = introspected(self._reader, self._counting, now, asker, form["token"])
        self._count(environ, asker, now)
        return answer

    def _validate(self, environment: Environment, environ: "WSGIEnvironment", now: datetime) -> KeyValidation | None:
        asked = KeyToValidate.model_validate(whole_json(environ))
        key = identify_by(self._readers[environment], now, read_key, asked.key).principal
        if not isinstance(key, KeyPrincipal) or key.environment is not environment or key.bounds is not None:
            return None
        self._note(environ, key)
        return validated(key)

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


def install(app: Flask, core: Core) -> RememberedAnswers:
    """Must be called before `slow_clients.install`, which reads the bodies."""
    remembered = RememberedAnswers(app, core)
    app.wsgi_app = FastPath(app, app.wsgi_app, core, remembered)  # type: ignore[method-assign]
    return remembered
