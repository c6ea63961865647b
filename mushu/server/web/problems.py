"""Errors as HTTP answers: problem documents (RFC 9457); `error_pages.py` makes pages of them for people.

This is the only module where an error becomes a status. What is wrong with a field is said in our own words, because
Pydantic's may quote the input, which may be secret.
"""

import logging
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from flask import Flask, Response, current_app
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from mushu.keyformat import mask
from mushu.server import errors
from mushu.server.errors import MushuError

_LOG: Final = logging.getLogger(__name__)
MEDIA_TYPE: Final = "application/problem+json"
_CHALLENGE: Final = 'ApiKey realm="mushu", Bearer realm="mushu"'
_KEPT_HEADERS: Final = frozenset({"Allow", "Content-Range", "Retry-After"})

#: PostgreSQL ended one of two transactions that waited for each other.
_DEADLOCK: Final = "40P01"

#: By class of the tree; the nearest ancestor counts.
STATUSES: Final[dict[type[MushuError], HTTPStatus]] = {
    errors.Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.TooManyAttempts: HTTPStatus.TOO_MANY_REQUESTS,
    errors.RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    errors.AmbiguousCredential: HTTPStatus.BAD_REQUEST,
    errors.MalformedBody: HTTPStatus.BAD_REQUEST,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.StateConflict: HTTPStatus.CONFLICT,
    errors.DeliveryFailed: HTTPStatus.BAD_GATEWAY,
    errors.MailFailed: HTTPStatus.BAD_GATEWAY,
    errors.DeliveryUndecided: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DatabaseUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.StorageUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.Undecided: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.Busy: HTTPStatus.SERVICE_UNAVAILABLE,
    MushuError: HTTPStatus.INTERNAL_SERVER_ERROR,
}

_DATE_TIME: Final = "must be a date and time such as 2027-01-15T10:30:00Z"
_WHOLE: Final = "must be a whole number"
_FIELD_ERRORS: Final = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "finite_number": _WHOLE,
    "int_parsing_size": "is too large",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "datetime_type": _DATE_TIME,
    "datetime_parsing": _DATE_TIME,
    "datetime_from_date_parsing": _DATE_TIME,
    "timezone_aware": "must name its time zone, as in 2027-01-15T10:30:00Z",
    "string_too_short": "is too short",
    "string_too_long": "is too long",
    "too_short": "has too few items",
    "too_long": "has too many items",
    "address": "must be one address of IPv4 or IPv6, such as 198.51.100.7",
}
#: Types of errors whose context names the values that are right.
_CHOICES: Final = ("literal_error", "enum")
# The name of an unknown field is input, too: a plain name, likely a typo, is repeated; anything else is not.
PLAIN_NAME: Final = re.compile(r"[a-z_]{1,40}")
_HEADER_NAME: Final = re.compile(r"[A-Z][a-z]{1,20}(?:-[A-Z][a-z]{1,20}){1,3}")
_UNNAMED: Final = "a field"


class FieldError(BaseModel):
    """What is wrong with one field of the request."""

    field: str
    message: str


class Problem(BaseModel):
    """An error as a problem document (RFC 9457); `code` is stable and listed in the documentation."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    key_id: str | None = Field(default=None, exclude_if=lambda value: value is None)
    errors: list[FieldError] | None = Field(default=None, exclude_if=lambda value: value is None)


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    key_id: str | None = None,
    field_errors: list[FieldError] | None = None,
) -> Response:
    """Return an error answer."""
    document = Problem(
        type=f"urn:mushu:error:{code}",
        title=title,
        status=status,
        detail=detail,
        code=code,
        key_id=key_id,
        errors=field_errors,
    )
    # A sentence may name what was asked for: perhaps a credential, pasted into the wrong field.
    response = Response(mask(document.model_dump_json()) + "\n", status, mimetype=MEDIA_TYPE)
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = _CHALLENGE
    return response


def status_of(error: MushuError) -> HTTPStatus:
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def on_mushu_error(error: MushuError) -> Response:
    if status_of(error) >= HTTPStatus.INTERNAL_SERVER_ERROR:
        current_app.logger.error("request failed", extra={"code": error.code, "detail": error.detail})
    return as_problem(error)


def as_problem(error: MushuError, status: HTTPStatus | None = None) -> Response:
    """Return the answer that an error becomes, with this status instead of its own where one is given."""
    field_errors = [FieldError(field=error.field, message=error.detail)] if error.field else None
    status = status or status_of(error)
    detail = error.detail
    if error.overwritable:  # a command says otherwise: `commands/common.py`
        detail = f"{detail} No request overwrites it; the operator of this server can."
    response = problem(status, error.code, error.title, detail, key_id=error.key_id, field_errors=field_errors)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.RateLimited):
        response.headers.extend(error.fields)
    return response


def on_invalid_body(error: ValidationError) -> Response:
    """Say which fields are wrong, and never repeat what was sent in them."""
    wrong = field_errors_of(error)
    detail = "; ".join(f"{one.field} {one.message}" for one in wrong[:5]) + "."
    status, kind = HTTPStatus.UNPROCESSABLE_ENTITY, errors.Invalid
    return problem(status, kind.code, kind.title, detail, field_errors=wrong[:50])


def field_errors_of(error: ValidationError) -> list[FieldError]:
    """Say which fields are wrong and how, and repeat nothing of what was sent in them."""
    return [
        FieldError(field=_field_name(one["loc"]), message=_message(one))
        for one in error.errors(include_url=False, include_input=False)
    ]


def _message(fault: ErrorDetails) -> str:
    if fault["type"] in _CHOICES:
        return f"must be {fault['ctx']['expected']}"
    return _FIELD_ERRORS.get(fault["type"], "is not valid")


def _field_name(location: tuple[int | str, ...]) -> str:
    named = all(isinstance(part, int) or PLAIN_NAME.fullmatch(part) for part in location)
    name = ".".join(str(part) for part in location)
    return name if location and (named or _HEADER_NAME.fullmatch(name)) else _UNNAMED


def on_http_error(error: HTTPException) -> Response:
    """Answer what Flask and Werkzeug raise: no such path, method not allowed, body too large, not JSON."""
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    code, detail = _HTTP.get(status, (status.name.lower(), f"{status.phrase}."))
    response = problem(status, code, status.phrase, detail)
    response.headers.extend([(name, value) for name, value in error.get_headers() if name in _KEPT_HEADERS])
    return response


def on_clash(_: DBAPIError) -> Response:
    """Answer the loser of two concurrent requests, between which a constraint of the database decided."""
    return on_mushu_error(
        errors.StateConflict("Another request changed the same thing at this moment. Look, and try again.")
    )


def on_unstorable(_: DataError) -> Response:
    """Answer a text with a NUL character, which PostgreSQL cannot store."""
    return on_mushu_error(errors.Invalid("The request holds a character that cannot be stored. Leave it out."))


def on_database_error(error: OperationalError) -> Response:
    if getattr(error.orig, "sqlstate", None) == _DEADLOCK:  # each of two transactions waited for the other
        return on_clash(error)
    current_app.logger.error("database failed", extra={"cause": str(error.orig)})
    return on_mushu_error(errors.DatabaseUnavailable("The database does not answer right now. Try again shortly."))


def on_damaged_database(error: DatabaseError) -> Response:
    """Answer what SQLite says of a file that is damaged, or no database; all other errors have classes of their own."""
    if type(error) is not DatabaseError:
        return on_crash(error)
    current_app.logger.error("database failed", extra={"cause": str(error.orig)})
    return on_mushu_error(errors.DatabaseUnavailable("The database is damaged. Run `flask doctor` on the server."))


def on_exhausted_pool(_: PoolTimeout) -> Response:
    return on_mushu_error(errors.Busy("All connections to the database are in use. Try again shortly."))


def on_undecided(error: Exception) -> Response:
    """Answer that the gate cannot decide, which lets nobody pass and says of no key that it is bad."""
    if isinstance(error, PoolTimeout):
        return as_problem(errors.Busy("All connections to the database are in use. Try again shortly."))
    if isinstance(error, errors.LimiterUnavailable):
        return as_problem(error)
    if isinstance(error, DBAPIError):
        _LOG.error("database failed", extra={"cause": str(error.orig)})
        return as_problem(
            errors.DatabaseUnavailable("The database does not answer right now. Run `flask doctor` on the server.")
        )
    _LOG.error("the gate cannot decide", exc_info=error)
    return as_problem(errors.Undecided("The gate failed, so nothing passes. The log of the server says why."))


def on_crash(error: Exception) -> Response:
    """Hide what went wrong from the caller, and log it."""
    current_app.logger.error("unhandled exception", exc_info=error)
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return problem(status, MushuError.code, MushuError.title, "The server failed. Its log says why.")


#: What an error becomes, by its class; the nearest ancestor counts.
HANDLERS: Final[dict[type[Exception], Callable[[Any], Response]]] = {
    MushuError: on_mushu_error,
    HTTPException: on_http_error,
    IntegrityError: on_clash,
    DataError: on_unstorable,
    OperationalError: on_database_error,
    DatabaseError: on_damaged_database,
    PoolTimeout: on_exhausted_pool,
    Exception: on_crash,
}


def install(app: Flask) -> None:
    for kind, handler in HANDLERS.items():
        app.register_error_handler(kind, handler)


# The codes are written out because the names in HTTPStatus differ from one Python to the next.
_HTTP: Final = {
    HTTPStatus.BAD_REQUEST: (
        "bad_request",
        "The request could not be understood: check that its body is valid JSON.",
    ),
    HTTPStatus.NOT_FOUND: (
        errors.NotFound.code,
        "There is nothing at this address. The API is described at /docs.",
    ),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        "method_not_allowed",
        "This address does not take that method; the Allow header lists those it takes.",
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        "request_entity_too_large",
        "The request body is larger than this server takes.",
    ),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: (
        "unsupported_media_type",
        "Send the body as JSON, with `Content-Type: application/json`.",
    ),
}
