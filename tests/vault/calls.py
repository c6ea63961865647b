"""From an HTTP request to an operation on a path with fields."""

import json
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

from tests.vault.answers import Refused

LARGEST = 32 * 1024 * 1024
MERGE_PATCH = "application/merge-patch+json"
_OPERATIONS = {"GET": "read", "POST": "update", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_OPERATIONS |= {"LIST": "list"}


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
    if operation == "list" and not path.endswith("/"):
        path += "/"
    return Call(operation, path, fields, _token(asked))


def _token(asked: Asked) -> str:
    return asked.headers.get("x-vault-token", "")


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
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise Refused(400, f"failed to decode JSON input: {error}") from None
    if document is not None and not isinstance(document, dict):
        raise Refused(400, "failed to decode JSON input: json: it is no object")
    return dict(document or {})


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"invalid character {name[0]!r} looking for beginning of value")
