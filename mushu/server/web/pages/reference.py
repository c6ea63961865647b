"""The API reference at /docs: written from the OpenAPI document on the server, with nothing loaded from elsewhere.

It has no script. The server searches, and the browser folds.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from flask import Blueprint, Response, current_app, render_template, request

from mushu.server.web.guard import SANDBOX, public
from mushu.server.web.openapi import DOCUMENT_PATH, document_of
from mushu.server.web.response_headers import CachedResponse

PAGES = Blueprint("reference", __name__)
#: Where an app keeps the page.
_RENDERED: Final = "mushu_reference"
#: Of what is searched for.
_LONGEST: Final = 100

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    kind: str
    required: bool
    meaning: str


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    path: str
    anchor: str
    #: The path for test, and its anchor; empty where it stands once.
    twin: str
    twin_anchor: str
    summary: str
    who: str
    query: list[Field]
    body: list[Field]
    #: The media types of a body or an answer that is bytes, not fields.
    taken: list[str]
    answer: list[Field]
    answered: list[str]
    #: Of the body and of the answer, as JSON; empty where there is none.
    sent_example: str
    answer_example: str
    #: Further answers that refuse nothing, such as a part of a file.
    others: list[tuple[str, str]]
    refusals: list[tuple[str, str]]

    def has(self, words: list[str]) -> bool:
        """Tell whether each word is somewhere in what is said of it."""
        fields = (*self.query, *self.body, *self.answer)
        said = " ".join((self.method, self.path, self.summary, *(f"{one.name} {one.meaning}" for one in fields)))
        return all(word in said.casefold() for word in words)


Groups: TypeAlias = dict[str, list[Operation]]


@dataclass(frozen=True, slots=True)
class Reference:
    """What an app keeps of its reference."""

    groups: Groups
    page: CachedResponse


@PAGES.get("/docs")
@public
def show_reference() -> Response:
    """Show every endpoint: who may call it, what it takes, what it answers; or those that have the words of `q`."""
    sought = request.args.get("q", "")[:_LONGEST]
    if words := sought.casefold().split():
        groups = _reference().groups
        found = [operation for operations in groups.values() for operation in operations if operation.has(words)]
        return Response(render_template("reference.html", groups=groups, sought=sought, found=found))
    return _reference().page.answer()


def _reference() -> Reference:
    """Return that of the current app; two requests at once may both make it, and alike."""
    made = current_app.extensions.get(_RENDERED)
    if made is None:
        groups = _groups()
        page = render_template("reference.html", groups=groups, document=DOCUMENT_PATH)
        made = Reference(groups, CachedResponse(page.encode(), "text/html; charset=utf-8"))
        current_app.extensions[_RENDERED] = made
    return cast(Reference, made)


def _groups() -> Groups:
    """Return the endpoints by their heading; one that stands twice is one, with its path for test."""
    spec = document_of(current_app).spec
    groups: Groups = {}
    for path, operations in spec["paths"].items():
        if not path.startswith(f"{SANDBOX}/"):
            for method, operation in operations.items():
                groups.setdefault(operation["tags"][0], []).append(_operation(spec, path, method, operation))
    return groups


def _operation(spec: Schema, path: str, method: str, operation: Schema) -> Operation:
    twin = spec["paths"].get(SANDBOX + path, {}).get(method)
    return Operation(
        method=method.upper(),
        path=path,
        anchor=operation["operationId"],
        twin=SANDBOX + path if twin else "",
        twin_anchor=twin["operationId"] if twin else "",
        summary=operation["summary"],
        who=_who(operation),
        query=_query(spec, operation),
        body=_fields(spec, operation.get("requestBody")),
        taken=_bytes(operation.get("requestBody")),
        answer=_fields(spec, operation["responses"]["200"]),
        answered=_bytes(operation["responses"]["200"]),
        sent_example=_example(spec, operation.get("requestBody")),
        answer_example=_example(spec, operation["responses"]["200"]),
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
        Field(parameter["name"], _kind(spec, parameter["schema"]), parameter["required"], parameter["description"])
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query"
    ]


def _fields(spec: Schema, content: Schema | None) -> list[Field]:
    schema = _schema(spec, content)
    required = schema.get("required", [])
    return [
        Field(name, _kind(spec, kind), name in required, kind.get("description", ""))
        for name, kind in schema.get("properties", {}).items()
    ]


def _example(spec: Schema, content: Schema | None) -> str:
    (example,) = _schema(spec, content).get("examples", [None])
    return json.dumps(example, indent=2, ensure_ascii=False) if example else ""


def _schema(spec: Schema, content: Schema | None) -> Schema:
    """Return the schema of a body or an answer; an empty one where there are no fields."""
    if content is None or _bytes(content):
        return {}
    (described,) = content["content"].values()  # JSON, or a form
    return _resolve(spec, described["schema"])


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
