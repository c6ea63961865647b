"""What a service asks about the keys that it was shown: `POST /api-keys/verify`, and introspection (RFC 7662).

Who asks proves itself with an API key with `read`, and learns of keys of that key's organization and environment only.
All other keys, and CLI tokens, are unknown to it. A key that is verified is in use: it is counted as if it had asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, cast

from flask import Flask, Response, current_app, jsonify, make_response
from pydantic import AfterValidator, BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy.exc import DBAPIError

from mushu.environment import Environment
from mushu.server.answers import Answer
from mushu.server.client_address import Address, read_address, shown
from mushu.server.clock import rfc3339
from mushu.server.core import core_of, gate_reader_in, get_core
from mushu.server.environments import Reader
from mushu.server.errors import (
    AmbiguousCredential,
    Forbidden,
    Invalid,
    MalformedBody,
    MalformedCredential,
    MissingCredential,
    MushuError,
    RateLimited,
    Unauthenticated,
    WrongNetwork,
)
from mushu.server.gate import KeyPrincipal
from mushu.server.gate.decision import KeyReport, report, within_bounds
from mushu.server.keys import Scope
from mushu.server.limiter import Limiter
from mushu.server.usage import Recorder
from mushu.server.web.api.models import Body, Text, optional
from mushu.server.web.extensions import recorder_of
from mushu.server.web.guard import about_keys, current_principal, takes_client_secret
from mushu.server.web.problems import on_undecided
from mushu.server.web.routes import Resource, Route

_MOST = 100
_CHALLENGE = 'Basic realm="mushu", Bearer realm="mushu"'
#: In ASCII, as all descriptions of RFC 6749, section 5.2.
_HOW_CLIENTS_PROVE_THEMSELVES: Final = (
    "Send an API key with the scope read as the client secret: by Basic, as client_secret of the form, or as Bearer."
)


def _one_address(text: str) -> str:
    if read_address(text) is None:
        raise PydanticCustomError("address", "no address")
    return text


class KeysToVerify(Body):
    """One key, or up to 100; `client_address` is that of the client who sent them."""

    key: Text | None = None
    keys: list[Text] | None = Field(default=None, min_length=1, max_length=_MOST)
    scope: Literal["read", "write", "admin"] | None = None
    client_address: Annotated[str, Field(max_length=45), AfterValidator(_one_address)] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> "KeysToVerify":
        if (self.key is None) == (self.keys is None):
            raise Invalid("Send `key` for one API key, or `keys` for several; not both.", field="key")
        return self


class KeyVerification(BaseModel):
    """What one key is; where it is not valid, `code` and `detail` say why."""

    valid: bool
    state: str
    key_id: str | None = optional()
    name: str | None = optional()
    scopes: list[str] | None = optional()
    environment: str | None = optional()
    expires_at: str | None = optional()
    code: str | None = optional()
    detail: str | None = optional()
    retry_after: int | None = optional()


class KeyVerifications(BaseModel):
    results: list[KeyVerification]


class TokenToIntrospect(BaseModel):
    token: str = ""
    token_type_hint: str = ""
    client_id: str = ""
    client_secret: str = ""


class Introspection(BaseModel):
    """What RFC 7662 tells of a token; of one that is not good, or not known to who asks, only that it is not active."""

    active: bool
    scope: str | None = optional()
    client_id: str | None = optional()
    sub: str | None = optional()
    token_type: str | None = optional()
    iat: int | None = optional()
    exp: int | None = optional()


class IntrospectionError(BaseModel):
    """An error as in RFC 6749, section 5.2."""

    error: Literal["invalid_client", "invalid_request"]
    error_description: str


@dataclass(frozen=True, slots=True)
class Counting:
    """What counts the use of keys that are asked about."""

    recorder: Recorder
    limiter: Limiter

    @classmethod
    def of(cls, app: Flask) -> "Counting":
        return cls(recorder_of(app), core_of(app).limiter)


def reports_of(source: Reader, now: datetime, asker: KeyPrincipal, asked: KeysToVerify) -> list[KeyReport]:
    """Return what who asks may know of some keys; their use is not counted."""
    scope = Scope(asked.scope) if asked.scope is not None else None
    keys = [asked.key] if asked.key is not None else asked.keys or []
    return [report(source, now, asker, key, scope) for key in keys]


def verified(counting: Counting, now: datetime, found: Sequence[KeyReport], address: Address | None) -> Answer:
    """Return the answer to who asks about some keys, and count their use.

    Raises:
        LimiterUnavailable: the use of one of them cannot be counted.
    """
    reports = [one for one, _ in within_bounds(found, counting.limiter, now, address)]
    _count(counting.recorder, now, reports, address)
    return {"results": [verification_of(one) for one in reports]}


def introspected(counting: Counting, now: datetime, asked_about: KeyReport) -> Answer | RateLimited:
    """Return the answer to who asks about one token, and count its use; one for certain networks is not active.

    A limit of the token that is reached does not make it inactive, so that is returned as such.

    Raises:
        LimiterUnavailable: its use cannot be counted.
    """
    ((found, limited),) = within_bounds([asked_about], counting.limiter, now, None)
    _count(counting.recorder, now, [found], None)
    if limited is not None:
        return limited
    return introspection_of(found)


def introspection_of(found: KeyReport) -> Answer:
    """Return the answer to who asks about the token of which this is known."""
    identity = found.identity
    if identity is None or found.code is not None or not isinstance(identity.principal, KeyPrincipal):
        return {"active": False}
    answer: Answer = {
        "active": True,
        "scope": " ".join(identity.principal.scopes),
        "client_id": identity.principal.key_id,
        "sub": identity.principal.org_id,
        "token_type": "Bearer",
        "iat": int(identity.issued_at.timestamp()),
    }
    return answer if identity.until is None else answer | {"exp": int(identity.until.timestamp())}


@about_keys
def verify_api_keys(body: KeysToVerify) -> KeyVerifications:
    """Tell what some API keys are: those of the organization and environment of the key that asks."""
    now = get_core().clock()
    found = reports_of(gate_reader_in(Environment.LIVE), now, _asker(), body)
    return KeyVerifications(**verified(Counting.of(current_app), now, found, read_address(body.client_address)))


@takes_client_secret
@about_keys
def introspect_token(form: TokenToIntrospect) -> Introspection | Response:
    """Tell whether an API key is active (RFC 7662), to a client whose secret is an API key with `read`."""
    if not form.token:
        sentence = "The token is missing. Send it as token of a form (application/x-www-form-urlencoded)."
        return _error(HTTPStatus.BAD_REQUEST, "invalid_request", sentence)
    now = get_core().clock()
    found = report(gate_reader_in(Environment.LIVE), now, _asker(), form.token)
    answer = introspected(Counting.of(current_app), now, found)
    if isinstance(answer, RateLimited):
        raise answer
    return Introspection(**answer)


def _asker() -> KeyPrincipal:
    return cast(KeyPrincipal, current_principal())


def _count(recorder: Recorder, now: datetime, reports: Sequence[KeyReport], address: Address | None) -> None:
    for found in reports:
        if found.key_id is None:
            continue
        if found.identity is not None and found.code != WrongNetwork.code:
            recorder.saw(found.key_id, now, shown(address))
        if found.code is not None:
            recorder.denied(found.key_id, now, shown(address), found.code)


def verification_of(found: KeyReport) -> Answer:
    """Return the answer about one key."""
    told: dict[str, Any] = {"valid": found.code is None, "state": found.state, "key_id": found.key_id}
    if (identity := found.identity) is not None and isinstance(identity.principal, KeyPrincipal):
        told |= {
            "name": identity.name,
            "scopes": _texts(identity.principal.scopes),
            "environment": identity.principal.environment.value,
            "expires_at": rfc3339(identity.until) if identity.until is not None else None,
        }
    told |= {"code": found.code, "detail": found.detail, "retry_after": found.retry_after}
    return {name: value for name, value in told.items() if value is not None}


@lru_cache
def _texts(scopes: tuple[Scope, ...]) -> tuple[str, ...]:
    """Return scopes as JSON has them: to write members of an enumeration takes eight times as long."""
    return tuple(scope.value for scope in scopes)


def _on_bad_client(error: MushuError) -> Response:
    """Answer who does not prove themselves, as RFC 6749 and RFC 7662 say; the reason is the sentence."""
    of_form = isinstance(error, MissingCredential | MalformedCredential)
    sentence = _HOW_CLIENTS_PROVE_THEMSELVES if of_form else error.detail
    return _error(HTTPStatus.UNAUTHORIZED, "invalid_client", sentence)


def _on_bad_request(error: MushuError) -> Response:
    return _error(HTTPStatus.BAD_REQUEST, "invalid_request", error.detail)


def _error(status: HTTPStatus, error: str, sentence: str) -> Response:
    response = make_response(jsonify(error=error, error_description=sentence), status)
    if status is HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = _CHALLENGE
    return response


VERIFICATION = Resource(
    "api-key verification",
    [
        Route(
            "POST",
            "/api-keys/verify",
            verify_api_keys,
            KeyVerifications,
            refusals=(HTTPStatus.SERVICE_UNAVAILABLE,),
        )
    ],
    own_errors={DBAPIError: on_undecided},
)
INTROSPECTION = Resource(
    "introspection",
    [
        Route(
            "POST",
            "/oauth/introspect",
            introspect_token,
            Introspection,
            refusals=(HTTPStatus.SERVICE_UNAVAILABLE,),
            answers={HTTPStatus.BAD_REQUEST: IntrospectionError, HTTPStatus.UNAUTHORIZED: IntrospectionError},
        )
    ],
    own_errors={
        AmbiguousCredential: _on_bad_request,
        DBAPIError: on_undecided,
        Forbidden: _on_bad_client,
        MalformedBody: _on_bad_request,
        Unauthenticated: _on_bad_client,
    },
)
