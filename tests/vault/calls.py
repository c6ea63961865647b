"""From an HTTP request to an operation on a path with fields."""

import json
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

from tests.vault.answers import Refused
from tests.vault.values import Unreadable, mended, seconds

LARGEST = 32 * 1024 * 1024
MERGE_PATCH = "application/merge-patch+json"
_OPERATIONS = {"GET": "read", "POST": "update", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_OPERATIONS |= {"LIST": "list", "SCAN": "scan", "HEAD": "header", "OPTIONS": "none"}
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False", "")


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)


@dataclass(frozen=True)
class Call:
    """One operation; `path` is relative to the namespace, and to the mount once an engine has it."""

    operation: str
    path: str
    fields: dict[str, Any] = field(default_factory=dict)
    token: str = ""
    namespace: str = ""
    wrap_seconds: int = 0
    known: frozenset[str] | None = None

    @property
    def writes(self) -> bool:
        return self.operation in ("create", "update", "patch")

    def at(self, path: str) -> "Call":
        return replace(self, path=path)


def call_of(asked: Asked) -> Call:
    """Raises: Refused, for what the server cannot read."""
    operation = _OPERATIONS.get(asked.method)
    if operation is None:
        raise Refused(405)
    path = asked.path.removeprefix("/v1/")
    if operation in ("update", "patch"):
        fields = _body(asked, operation)
    else:
        fields = {name: values[0] if len(values) == 1 else values for name, values in asked.query.items()}
    if operation == "read" and "list" in fields:
        operation = "list" if _truth(fields["list"]) else "read"
        fields = {name: value for name, value in fields.items() if name != "list" or operation == "read"}
    if operation in ("list", "scan") and not path.endswith("/"):
        path += "/"
    return Call(operation, path, fields, _token(asked), wrap_seconds=_wrap_seconds(asked))


def _truth(text: Any) -> bool:
    if text not in _TRUE + _FALSE:
        raise Refused(400)
    return text in _TRUE


def _token(asked: Asked) -> str:
    bearer = asked.headers.get("authorization", "")
    return asked.headers.get("x-vault-token") or (bearer[7:].strip() if bearer.startswith("Bearer ") else "")


def _wrap_seconds(asked: Asked) -> int:
    try:
        return seconds(asked.headers.get("x-vault-wrap-ttl") or 0)
    except Unreadable as unreadable:
        raise Refused(400, f"error parsing X-Vault-Wrap-TTL header: {unreadable}") from None


def _body(asked: Asked, operation: str) -> dict[str, Any]:
    if len(asked.body) > LARGEST:
        raise Refused(413, "http: request body too large")
    media_type = asked.headers.get("content-type", "").split(";")[0].strip().lower()
    if operation == "patch" and not media_type:
        raise Refused(400, "mime: no media type")
    if operation == "patch" and media_type != MERGE_PATCH:
        raise Refused(415, f"PATCH requires Content-Type of {MERGE_PATCH}, provided {media_type}")
    text = asked.body.decode(errors="replace").strip()
    if not text:
        return {}
    if media_type == "application/x-www-form-urlencoded" and text[0] not in "{[":
        return {name: values[-1] for name, values in parse_qs(text).items()}
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise Refused(400, f"failed to decode JSON input: {error}") from None
    if document is not None and not isinstance(document, dict):
        kind = {list: "array", str: "string", bool: "bool"}.get(type(document), "number")
        wanted = "Go value of type map[string]interface {}"
        raise Refused(400, f"failed to decode JSON input: json: cannot unmarshal {kind} into {wanted}")
    return dict(mended(document or {}))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"invalid character {name[0]!r} looking for beginning of value")
