"""`/forward-auth/NAME`: whether a request that a proxy holds may pass, answered before Flask sees it.

What is asked is a policy. Its name is the first segment of the decoded path; what a proxy appends is ignored, and a
segment `..` denies. The method, the body, the query, `Host` and what proxies say in `X-Forwarded-…` decide nothing.

200 lets pass and carries every header below, always: one that was missing would let the client's own through. 401 and
403 refuse. 503 says that it cannot be decided. Two different credentials are refused with 401, not with the 400 of the
API: of other statuses nginx makes 500. An exception is never a 2xx.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

from flask import Flask

from mushu.environment import Environment
from mushu.server.client_address import client_address, name_in_environ, shown_text
from mushu.server.core import Core, gate_reader_in
from mushu.server.errors import AmbiguousCredential, Forbidden, RateLimited, Unauthenticated
from mushu.server.gate import KeyPrincipal, Principal, UserPrincipal
from mushu.server.gate.cache import derived_for_now, is_over, reads_at_once, recall_from
from mushu.server.gate.credential import read_headers
from mushu.server.gate.decision import Admitted, admit_by, get_requirement
from mushu.server.gate.principal import digest_of_sent, identify
from mushu.server.limiter import Fields
from mushu.server.logs import current_request_id
from mushu.server.operation.requests import AT_ONCE, WholeAnswer
from mushu.server.rate_limits import LimitWindow, windows_of
from mushu.server.web.access_log import AccessLog, find_access_log
from mushu.server.web.extensions import count_denial, recorder_of
from mushu.server.web.problems import as_problem, on_undecided, problem
from mushu.server.web.proxy_headers import REQUEST_ID, chosen

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PATH: Final = "/forward-auth"
_BELOW: Final = f"{_PATH}/"
_PASSED: Final = "200 OK"
_RULE: Final = f"{_BELOW}<name>"
#: Stands for a value that there is none of.
_UNSET: Final = "-"
#: Letters of the name of a key, percent-encoded; the rest is cut off.
_LONGEST_NAME: Final = 512
#: Of every answer.
_ALWAYS: Final = (
    ("Cache-Control", "no-store"),
    ("Vary", "Authorization, X-API-Key"),
    ("X-Content-Type-Options", "nosniff"),
)


@dataclass(frozen=True, slots=True)
class Passed:
    """The answer to a credential that passes, made once for as long as nothing is committed."""

    headers: tuple[tuple[str, str], ...]
    principal: Principal
    #: Of an API key; of a CLI token no use is counted.
    key_id: str | None
    until: datetime | None
    #: Whether it passes depends on more than what is stored.
    is_bounded: bool
    #: Of the key, of its organization and of the policy.
    windows: tuple[LimitWindow, ...]
    #: The status of the answer where one of them is full.
    over_limit: HTTPStatus


class ForwardAuth:
    """WSGI middleware around the whole application.

    Args:
        app: whose database, counters and access log are used.
        wrapped: answers everything else.
    """

    def __init__(self, app: Flask, wrapped: "WSGIApplication", core: Core) -> None:
        self._app = wrapped
        self._flask = app
        self._reader = gate_reader_in(Environment.LIVE, app)
        self._recall = recall_from(self._reader)
        self._recorder = recorder_of(app)
        self._limiter = core.limiter
        self._clock = core.clock
        self._address_header = core.settings.client_address_header
        self._address = name_in_environ(self._address_header)
        # As for other frequent requests: in the log only where all are.
        self._log = find_access_log(app) if core.settings.access_log == "all" else None

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if not path.startswith(_BELOW) and path != _PATH:
            return self._app(environ, start_response)
        remembered = self.answer_at_once(environ)
        if remembered is not None:
            start_response(_PASSED, remembered[1])
            return [remembered[2]]
        began = time.perf_counter()
        passed, request_id = None, chosen(environ.get("HTTP_X_REQUEST_ID", ""))
        try:
            now = self._clock()
            passed = cast(Passed, self._decide(environ, policy_name(path), now, only_at_once=False))
            bounds = passed.principal.bounds
            if bounds is not None:
                bounds.require_network(client_address(environ, self._address_header))
            if passed.key_id is not None:
                self._recorder.saw(passed.key_id, now, shown_text(environ.get(self._address)))
            status, headers, content = _PASSED, passed.headers, b""
            if passed.windows:
                headers += self._limiter.take(passed.windows, now.timestamp())
        except Exception as error:
            status, headers, content = self._refuse(error, environ, passed, request_id)
        start_response(status, [*headers, (REQUEST_ID, request_id)])
        if self._log is not None:
            self._note(self._log, environ, request_id, status, began, len(content), passed)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [content]

    def answer_at_once(self, environ: "WSGIEnvironment") -> WholeAnswer | None:
        """Return the answer of a credential that passes; None where it does not, or its answer may have to wait."""
        path = environ["PATH_INFO"]
        if not path.startswith(_BELOW):
            return None
        began, now = time.perf_counter() if self._log is not None else 0.0, self._clock()
        try:
            passed = self._decide(environ, policy_name(path), now, only_at_once=True)
        except Exception:  # `__call__` meets it again, and says what it is
            return None
        if passed is None or passed.is_bounded:
            return None
        if passed.key_id is not None:
            self._recorder.saw(passed.key_id, now, shown_text(environ.get(self._address)))
        request_id = chosen(environ.get("HTTP_X_REQUEST_ID", ""))
        if self._log is not None:
            self._note(self._log, environ, request_id, _PASSED, began, 0, passed)
        return 200, [*passed.headers, (REQUEST_ID, request_id)], b""

    def _decide(self, environ: "WSGIEnvironment", name: str, now: datetime, *, only_at_once: bool) -> Passed | None:
        """Let a request pass; None where that has to wait for something, and it is to be known at once.

        Raises:
            MushuError: one of those that say why not.
        """
        sent = environ.get("HTTP_AUTHORIZATION"), environ.get("HTTP_X_API_KEY")
        key = (_RULE, name, digest_of_sent(*sent))
        found: Passed | None = self._recall(key)
        if found is None or is_over(found, now):
            if only_at_once and not reads_at_once(self._reader):
                return None
            found = derived_for_now(self._reader, key, now, partial(self._look_up, name, now, sent))
        return found

    def _look_up(self, name: str, now: datetime, sent: tuple[str | None, ...]) -> Passed:
        requirement = get_requirement(self._reader, name)
        identity = identify(self._reader, now, read_headers(*sent))
        try:
            admitted = admit_by(self._reader, requirement, identity)
        except Forbidden as refusal:
            if isinstance(identity.principal, KeyPrincipal):
                refusal.of_key = identity.principal.key_id
            raise
        return _passed(admitted, requirement)

    def _refuse(
        self, error: Exception, environ: "WSGIEnvironment", passed: Passed | None, request_id: str
    ) -> tuple[str, Fields, bytes]:
        principal, over_limit = (passed.principal, passed.over_limit) if passed else (None, HTTPStatus.FORBIDDEN)
        if isinstance(error, Forbidden) and error.of_key is not None:  # it is in use all the same
            self._recorder.saw(error.of_key, self._clock(), shown_text(environ.get(self._address)))
        if isinstance(error, Unauthenticated | RateLimited | Forbidden):
            count_denial(self._flask, environ, principal, error)
        return _refusal(error, request_id, over_limit)

    def _note(
        self,
        log: AccessLog,
        environ: "WSGIEnvironment",
        request_id: str,
        status: str,
        began: float,
        length: int,
        passed: Passed | None,
    ) -> None:
        took, address = time.perf_counter() - began, shown_text(environ.get(self._address))
        asked_by = _id_of(passed.principal) if passed is not None else None
        log.add(
            (time.time(), request_id, environ["REQUEST_METHOD"], _RULE, status, took, str(length), asked_by, address)
        )


def policy_name(path: str) -> str:
    """Return the first segment after `/forward-auth/`; what follows it is the client's, and ignored.

    Raises:
        Forbidden: a segment is `..`, so that two programs could read the path in two ways.
    """
    name = path[len(_BELOW) :]
    if "/" in name or name == "..":
        name, *rest = name.split("/")
        if ".." in rest or name == "..":
            raise Forbidden("A path with the segment `..` is not taken here.")
    return name


def _passed(admitted: Admitted, policy: Any) -> Passed:
    identity = admitted.identity
    bounds = identity.principal.bounds
    windows = windows_of(f"policy:{policy.name}", policy.limits, "policy-")
    if bounds is not None:
        windows = bounds.windows + windows
    return Passed(
        headers=_told(admitted),
        principal=identity.principal,
        key_id=identity.principal.key_id if isinstance(identity.principal, KeyPrincipal) else None,
        until=identity.until,
        is_bounded=bounds is not None or bool(windows),
        windows=windows,
        over_limit=HTTPStatus(policy.over_limit),
    )


def _told(admitted: Admitted) -> tuple[tuple[str, str], ...]:
    """Return the headers of an answer that lets pass: all of them, in ASCII, of 1 KB at most."""
    identity, principal = admitted.identity, admitted.identity.principal
    return (
        ("X-Mushu-Org", admitted.org_id),
        ("X-Mushu-Key-Id", principal.key_id if isinstance(principal, KeyPrincipal) else _UNSET),
        ("X-Mushu-Name", _encoded(identity.name) if identity.name is not None else _UNSET),
        ("X-Mushu-Scopes", ",".join(admitted.scopes)),
        ("X-Mushu-Environment", admitted.environment),
        ("X-Mushu-Principal", _id_of(principal)),
        ("Content-Length", "0"),
        *_ALWAYS,
    )


def _encoded(name: str) -> str:
    """Return a name percent-encoded (RFC 3986), cut off after a whole letter; one that is `-` is told from none."""
    encoded = ""
    for letter in name:
        more = quote(letter, safe="") if name != _UNSET else "%2D"
        if len(encoded) + len(more) > _LONGEST_NAME:
            break
        encoded += more
    return encoded


def _id_of(principal: Principal) -> str:
    return principal.user_id if isinstance(principal, UserPrincipal) else principal.key_id


def _refusal(error: Exception, request_id: str, over_limit: HTTPStatus) -> tuple[str, Fields, bytes]:
    """Return status, headers and body of an answer that lets nobody pass."""
    if isinstance(error, AmbiguousCredential):
        response = problem(HTTPStatus.UNAUTHORIZED, error.code, error.title, error.detail)
    elif isinstance(error, RateLimited):
        response = as_problem(error, over_limit)
    elif isinstance(error, Unauthenticated | Forbidden):
        response = as_problem(error)
    else:
        before = current_request_id.set(request_id)
        response = on_undecided(error)
        current_request_id.reset(before)
    return response.status, (*response.headers.to_wsgi_list(), *_ALWAYS), response.get_data()


def install(app: Flask, core: Core) -> None:
    """Must be the last to wrap the application."""
    forward_auth = ForwardAuth(app, app.wsgi_app, core)
    app.wsgi_app = forward_auth  # type: ignore[method-assign]
    setattr(app, AT_ONCE, forward_auth.answer_at_once)
