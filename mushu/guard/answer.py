"""What Mushu answers about a key, read with suspicion; and what a client hears that may not pass."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from mushu.environment import Environment
from mushu.keyformat import mask
from mushu.strict_json import Limits, NotStrictJson, read

SCOPES: Final = ("read", "write", "admin")
_CHALLENGE: Final = 'ApiKey realm="mushu", Bearer realm="mushu"'
#: Seconds after which a client may ask again where it could not be decided.
_RETRY_AFTER: Final = 5
_LIMITS: Final = Limits(depth=8, values=200)
#: The states in which a key is good; whatever refuses it then is about what it may do.
_GOOD_STATES: Final = ("active", "retiring")
_KEY_ID: Final = re.compile(r"key_[a-z2-7]{12}")
_CODE: Final = re.compile(r"[a-z_]{1,40}")
_LONGEST_DETAIL: Final = 500


class BadAnswer(ValueError):
    """What answered is not Mushu, or not as documented; nothing passes. The message does not repeat it."""


class RequestDenied(Exception):
    """The request may not pass; `status`, `headers` and `body` are the answer: a problem document (RFC 9457)."""

    def __init__(self, status: HTTPStatus, code: str, title: str, detail: str, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status, self.code = status, code
        document = {"type": f"urn:mushu:error:{code}", "title": title, "status": status, "detail": detail, "code": code}
        self.body = json.dumps(document).encode()
        self.headers = [
            ("Content-Type", "application/problem+json"),
            ("Content-Length", str(len(self.body))),
            ("Cache-Control", "no-store"),
            ("Vary", "Authorization, X-API-Key"),
        ]
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            self.headers.append(("WWW-Authenticate", _CHALLENGE))
        if retry_after is not None:
            self.headers.append(("Retry-After", str(retry_after)))


@dataclass(frozen=True, slots=True)
class VerifiedKey:
    """An API key that Mushu says is good, of the organization and environment of the guard's own key."""

    key_id: str
    name: str
    scopes: tuple[str, ...]
    environment: Environment
    expires_at: datetime | None


def undecided() -> RequestDenied:
    """Return what a client hears where nobody can say whether its key is good."""
    detail = "It cannot be decided right now whether this API key is good, so nothing passes. Try again shortly."
    return RequestDenied(HTTPStatus.SERVICE_UNAVAILABLE, "undecided", "The gate cannot decide", detail, _RETRY_AFTER)


def lacks_scope(scope: str, held: tuple[str, ...]) -> RequestDenied:
    """Return what the client of a good key hears that does not have the scope."""
    detail = f"This needs the scope {scope}; the credential carries: {', '.join(held)}."
    return RequestDenied(HTTPStatus.FORBIDDEN, "missing_scope", "The credential lacks a scope", detail)


def read_answer(content: bytes, scope: str | None, environment: Environment) -> VerifiedKey:
    """Return the key that an answer of `POST /api-keys/verify` to one key says is good.

    Args:
        environment: that of the key that asked.

    Raises:
        RequestDenied: the key is not good, or may not do this.
        BadAnswer: it is no such answer.
    """
    try:
        answer = read(content, _LIMITS)
    except NotStrictJson as error:
        raise BadAnswer(f"the answer cannot be read: {error}") from None
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list) or len(results) != 1 or not isinstance(results[0], dict):
        raise BadAnswer("the answer is not about one key")
    result: Mapping[str, Any] = results[0]
    if result.get("valid") is not True:
        raise _refusal(result)
    found = _key(result)
    if "code" in result or result.get("state") not in _GOOD_STATES or found.environment is not environment:
        raise BadAnswer("the answer contradicts itself")
    if scope is not None and scope not in found.scopes:
        raise BadAnswer("the answer lets a key pass without the scope")
    return found


def _refusal(result: Mapping[str, Any]) -> RequestDenied:
    code, detail = result.get("code"), result.get("detail")
    if result.get("valid") is not False or not isinstance(code, str) or not _CODE.fullmatch(code):
        raise BadAnswer("the answer neither lets pass nor says why not")
    told = mask(detail)[:_LONGEST_DETAIL] if isinstance(detail, str) else "This API key does not pass."
    later = result.get("retry_after")
    otherwise = HTTPStatus.FORBIDDEN if result.get("state") in _GOOD_STATES else HTTPStatus.UNAUTHORIZED
    status = HTTPStatus.TOO_MANY_REQUESTS if code == "rate_limited" else otherwise
    return RequestDenied(status, code, status.phrase, told, later if type(later) is int and later > 0 else None)


def _key(result: Mapping[str, Any]) -> VerifiedKey:
    try:
        key_id, name, scopes = result["key_id"], result["name"], result["scopes"]
        expires_at = datetime.fromisoformat(result["expires_at"]) if "expires_at" in result else None
        environment = Environment(result["environment"])
    except (KeyError, TypeError, ValueError):
        raise BadAnswer("the answer lacks a field") from None
    known = isinstance(key_id, str) and _KEY_ID.fullmatch(key_id) is not None and isinstance(name, str)
    listed = isinstance(scopes, list) and bool(scopes) and all(scope in SCOPES for scope in scopes)
    if not known or not listed or (expires_at is not None and expires_at.tzinfo is None):
        raise BadAnswer("a field of the answer is not as documented")
    return VerifiedKey(key_id, name, tuple(scopes), environment, expires_at)
