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
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from flask import Flask

from mushu.environment import Environment
from mushu.server.client_address import client_address, shown_client
from mushu.server.core import Core, gate_reader_in
from mushu.server.errors import AmbiguousCredential, Forbidden, RateLimited, Unauthenticated, WrongNetwork
from mushu.server.gate import KeyPrincipal, Principal, UserPrincipal
from mushu.server.gate.cache import derived
from mushu.server.gate.credential import read_headers
from mushu.server.gate.decision import Admitted, admit_by, get_requirement
from mushu.server.gate.principal import digest_of_sent, identify
from mushu.server.limiter import Fields
from mushu.server.logs import current_request_id
from mushu.server.rate_limits import LimitWindow, windows_of
from mushu.server.web.access_log import find_access_log
from mushu.server.web.extensions import count_denial, recorder_of
from mushu.server.web.problems import as_problem, on_undecided, problem
from mushu.server.web.proxy_headers import REQUEST_ID, chosen

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_PATH: Final = "/forward-auth"
_RULE: Final = f"{_PATH}/<name>"
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
    until: datetime | None
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
        self._recorder = recorder_of(app)
        self._limiter = core.limiter
        self._clock = core.clock
        self._address_header = core.settings.client_address_header
        # As for other frequent requests: in the log only where all are.
        self._log = find_access_log(app) if core.settings.access_log == "all" else None

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if not path.startswith(_PATH) or path[len(_PATH) : len(_PATH) + 1] not in ("", "/"):
            return self._app(environ, start_response)
        began, principal, over_limit = time.perf_counter(), None, HTTPStatus.FORBIDDEN
        request_id = chosen(environ.get("HTTP_X_REQUEST_ID", ""))
        try:
            now = self._clock()
            passed = self._decide(environ, policy_name(path), now)
            principal, over_limit = passed.principal, passed.over_limit
            self._count(environ, principal, now)
            status, headers, content = "200 OK", passed.headers, b""
            if passed.windows or principal.bounds is not None:
                headers += self._within_bounds(environ, passed, now)
        except Exception as error:
            if isinstance(error, Unauthenticated | RateLimited | WrongNetwork):
                count_denial(self._flask, environ, principal, error)
            status, headers, content = _refusal(error, request_id, over_limit)
        start_response(status, [*headers, (REQUEST_ID, request_id)])
        self._note(environ, request_id, status, began, len(content), principal)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [content]

    def _decide(self, environ: "WSGIEnvironment", name: str, now: datetime) -> Passed:
        authorization = environ.get("HTTP_AUTHORIZATION")
        x_api_key = environ.get("HTTP_X_API_KEY")

        def make() -> Passed:
            requirement = get_requirement(self._reader, name)
            identity = identify(self._reader, now, read_headers(authorization, x_api_key))
            try:
                admitted = admit_by(self._reader, requirement, identity)
            except Forbidden as refusal:  # it is in use all the same
                self._count(environ, identity.principal, now)
                count_denial(self._flask, environ, identity.principal, refusal)
                raise
            return _passed(admitted, requirement)

        key = (_RULE, name, digest_of_sent(authorization, x_api_key))
        found = derived(self._reader, key, make)
        return found if found.until is None or found.until > now else make()

    def _within_bounds(self, environ: "WSGIEnvironment", passed: Passed, now: datetime) -> Fields:
        """Count a request that its policy lets pass, and return what to tell of its limits.

        Raises:
            WrongNetwork, RateLimited, LimiterUnavailable: it does not pass.
        """
        bounds = passed.principal.bounds
        if bounds is not None:
            bounds.require_network(client_address(environ, self._address_header))
        return self._limiter.take(passed.windows, now.timestamp()) if passed.windows else ()

    def _count(self, environ: "WSGIEnvironment", principal: Principal, now: datetime) -> None:
        if isinstance(principal, KeyPrincipal):
            self._recorder.saw(principal.key_id, now, shown_client(environ, self._address_header))

    def _note(
        self,
        environ: "WSGIEnvironment",
        request_id: str,
        status: str,
        began: float,
        length: int,
        principal: Principal | None,
    ) -> None:
        if self._log is not None:
            self._log.add(
                (
                    time.time(),
                    request_id,
                    environ["REQUEST_METHOD"],
                    _RULE,
                    status,
                    time.perf_counter() - began,
                    str(length),
                    _id_of(principal) if principal is not None else None,
                    shown_client(environ, self._address_header),
                )
            )


def policy_name(path: str) -> str:
    """Return the first segment after `/forward-auth/`; what follows it is the client's, and ignored.

    Raises:
        Forbidden: a segment is `..`, so that two programs could read the path in two ways.
    """
    _, _, name, *rest = f"{path}/".split("/")
    if ".." in rest or name == "..":
        raise Forbidden("A path with the segment `..` is not taken here.")
    return name


def _passed(admitted: Admitted, policy: Any) -> Passed:
    identity = admitted.identity
    bounds = identity.principal.bounds
    windows = windows_of(f"policy:{policy.name}", policy.limits, "policy-")
    if bounds is not None:
        windows = bounds.windows + windows
    return Passed(_told(admitted), identity.principal, identity.until, windows, HTTPStatus(policy.over_limit))


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
    app.wsgi_app = ForwardAuth(app, app.wsgi_app, core)  # type: ignore[method-assign]
