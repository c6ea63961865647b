"""The API reference at /docs: written from the OpenAPI document on the server, with nothing loaded from elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from flask import Blueprint, Response, current_app, render_template

from mushu.server.web.guard import public
from mushu.server.web.openapi import DOCUMENT_PATH, CachedResponse

PAGES = Blueprint("reference", __name__)
#: Where an app keeps the page.
_RENDERED: Final = "mushu_reference"

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    kind: str
    required: bool


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    path: str
    anchor: str
    summary: str
    who: str
    query: list[Field]
    body: list[Field]
    #: The media types of a body or an answer that is bytes, not fields.
    taken: list[str]
    answer: list[Field]
    answered: list[str]
    #: Further answers that refuse nothing, such as a part of a file.
    others: list[tuple[str, str]]
    refusals: list[tuple[str, str]]


@PAGES.get("/docs")
@public
def show_reference() -> Response:
    """Show every endpoint: who may call it, what it takes, what it answers."""
    rendered = current_app.extensions.get(_RENDERED)
    if rendered is None:  # two at once both make it, and alike
        page = render_template("reference.html", groups=_groups(), document=DOCUMENT_PATH)
        rendered = current_app.extensions[_RENDERED] = CachedResponse(page.encode(), "text/html; charset=utf-8")
    return cast(CachedResponse, rendered).answer()


def _groups() -> dict[str, list[Operation]]:
    spec: Schema = current_app.api_doc  # type: ignore[attr-defined]
    groups: dict[str, list[Operation]] = {}
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(spec, path, method, operation))
    return groups


def _operation(spec: Schema, path: str, method: str, operation: Schema) -> Operation:
    return Operation(
        method=method.upper(),
        path=path,
        anchor=operation["operationId"],
        summary=operation["summary"],
        who=_who(operation),
        query=_query(spec, operation),
        body=_fields(spec, operation.get("requestBody")),
        taken=_bytes(operation.get("requestBody")),
        answer=_fields(spec, operation["responses"]["200"]),
        answered=_bytes(operation["responses"]["200"]),
        others=_described(operation, lambda status: status != "200" and status < "400"),
        refusals=_described(operation, lambda status: status >= "400"),
    )


def _described(operation: Schema, wanted: Callable[[str], bool]) -> list[tuple[str, str]]:
    answers = operation["responses"].items()
    return [(status, answer["description"]) for status, answer in answers if wanted(status)]


def _who(operation: Schema) -> str:
    if not operation["security"]:
        return "everybody"
    if operation["x-mushu-owner-only"]:
        return "the owner of the organization, signed in"
    scope, takes_keys = operation["x-mushu-scope"], {"apiKey": []} in operation["security"]
    if takes_keys:
        return f"scope {scope}"
    return f"signed-in users, scope {scope}" if scope else "any signed-in user"


def _query(spec: Schema, operation: Schema) -> list[Field]:
    return [
        Field(parameter["name"], _kind(spec, parameter["schema"]), required=parameter["required"])
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query"
    ]


def _fields(spec: Schema, content: Schema | None) -> list[Field]:
    if content is None or _bytes(content):
        return []
    (described,) = content["content"].values()  # JSON, or a form
    schema = _resolve(spec, described["schema"])
    required = schema.get("required", [])
    return [
        Field(name, _kind(spec, kind), required=name in required) for name, kind in schema.get("properties", {}).items()
    ]


def _bytes(content: Schema | None) -> list[str]:
    kinds = (content or {}).get("content", {})
    return [kind for kind, described in kinds.items() if described["schema"].get("format") == "binary"]


def _kind(spec: Schema, schema: Schema) -> str:
    """Return a schema in a few words: `string`, `list of string`, `string or null`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(spec, choice) for choice in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_kind(spec, schema['items'])}"
    if "const" in schema:
        return f"“{schema['const']}”"
    return str(schema.get("format") or schema.get("type", "any"))


def _resolve(spec: Schema, schema: Schema) -> Schema:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return spec["components"]["schemas"][name] if name else schema
