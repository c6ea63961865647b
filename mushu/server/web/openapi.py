"""The OpenAPI layer: flask-openapi, changed so that errors are problem documents and the OpenAPI document says so.

`docs/decisions/0003-openapi-layer.md` says why this library, and what is worked around.
"""

import tomllib
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from flask import Response
from flask_openapi import blueprint, utils
from flask_openapi.models.info import Info

from mushu.server.gate.access import Requirement
from mushu.server.web.application import ApiApp
from mushu.server.web.arguments import view_with
from mushu.server.web.guard import SANDBOX, OrgPage, public, requirement_of
from mushu.server.web.problems import MEDIA_TYPE, Problem, on_invalid_body
from mushu.server.web.response_headers import CachedResponse

DOCUMENT_PATH: Final = "/openapi.json"
_SCHEMES: Final[dict[str, Any]] = {
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key, `msk_live_…` or `msk_test_…`, or as `Authorization: ApiKey …` or `Bearer …`.",
    },
    "cliToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "A CLI token, `mct_…`, from `POST /auth/login`; lives 12 hours.",
    },
}
_BYTES: Final = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
_PROBLEM: Final = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


# Each model is in the document for live and for test, and some in every operation. Asking Pydantic once for each halves
# the time of `create_app`.
utils.get_model_schema = cache(utils.get_model_schema)
blueprint.create_view_func = view_with  # type: ignore[attr-defined, assignment]


def make_app(version: str) -> ApiApp:
    app = ApiApp(
        "mushu.server.web",
        info=Info(title="Mushu", version=version, description="A self-hosted authority for API keys."),
        doc_ui=False,
        security_schemes=_SCHEMES,
        validation_error_model=Problem,
        validation_error_callback=on_invalid_body,
    )
    app.openapi_version = "3.1.0"
    # One thing has one address. A redirect would repeat the path, and a path can hold a one-time link.
    app.url_map.merge_slashes = False
    public(app.view_functions["static"])
    return app


def serve_document(app: ApiApp, base_url: str) -> None:
    """Build the document once, in one thread, after the last endpoint was mounted, and serve it."""
    spec = _document(app) | {"servers": [{"url": base_url, "description": "This server"}]}
    document = CachedResponse(app.json.dumps(spec).encode() + b"\n", "application/json")

    @public
    def openapi_document() -> Response:
        return document.answer()

    app.add_url_rule(DOCUMENT_PATH, "openapi_document", openapi_document)


def _document(app: ApiApp) -> dict[str, Any]:
    spec: dict[str, Any] = app.api_doc
    views = app.view_functions
    requirements = {
        (rule.rule.replace("<", "{").replace(">", "}"), method.lower()): requirement_of(views[rule.endpoint])
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            _describe(operation, requirements[path, method], has_path_parameters="{" in path)
            for parameter in operation.get("parameters", []):
                heading = operation["tags"][0].removesuffix(f" ({SANDBOX.strip('/')})")
                said, *examples = _words(parameter["name"], f"Parameters of {heading}", "Parameters")
                parameter |= {"description": said} | ({"example": examples[0]} if examples else {})
    schemas = spec["components"]["schemas"]
    for model, schema in schemas.items():
        for name, described in schema.get("properties", {}).items():
            described["description"] = _words(name, model)[0]
        schema["examples"] = [_example(schemas, model)]
    return spec


@cache
def _vocabulary() -> dict[str, dict[str, list[Any]]]:
    return tomllib.loads(Path(__file__).with_name("vocabulary.toml").read_text(encoding="utf-8"))


def _words(name: str, *tables: str) -> list[Any]:
    """Return what a property or parameter means, and an example where there is one; by the first table that has it."""
    vocabulary = _vocabulary()
    found = (vocabulary[table][name] for table in (*tables, "words") if name in vocabulary.get(table, ()))
    return next(found, [""])


def _example(schemas: dict[str, Any], model: str) -> Any:
    """Return an example of a model: of its properties, those that have one, and those that must be there."""
    schema = schemas[model]
    if "enum" in schema:
        return schema["enum"][0]
    made = {}
    for name, described in schema.get("properties", {}).items():
        _, *examples = _words(name, model)
        value = examples[0] if examples else _referred(schemas, described)
        if value is not None or name in schema.get("required", []):
            made[name] = value
    return made


def _referred(schemas: dict[str, Any], described: dict[str, Any]) -> Any:
    """Return an example of the model that a property holds, or holds a list of; None where it holds none."""
    for option in (described, *described.get("anyOf", [])):
        if "$ref" in option:
            return _example(schemas, option["$ref"].rpartition("/")[2])
        if "$ref" in option.get("items", {}):
            return [_referred(schemas, option["items"])]
    return None


def _describe(
    operation: dict[str, Any], requirement: Requirement | OrgPage | str | None, *, has_path_parameters: bool
) -> None:
    """Say who may call the operation and how it refuses."""
    statuses = {HTTPStatus.UNPROCESSABLE_ENTITY}  # each endpoint refuses a query parameter that it does not take
    if "requestBody" in operation:
        statuses |= {
            HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        }  # fmt: skip
    if isinstance(requirement, Requirement):
        left_out = requirement.user_only, requirement.key_only
        operation["security"] = [{scheme: []} for scheme, out in zip(_SCHEMES, left_out, strict=True) if not out]
        operation["x-mushu-scope"] = requirement.scope
        operation["x-mushu-owner-only"] = requirement.owner_only
        statuses |= {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
        if not requirement.user_only:  # an API key may have limits
            statuses.add(HTTPStatus.TOO_MANY_REQUESTS)
    else:
        operation["security"] = []
    if operation.pop("x-mushu-takes-bytes", False):
        operation["requestBody"] = {"required": True, "content": _BYTES}
    if has_path_parameters:
        statuses.add(HTTPStatus.NOT_FOUND)
    statuses |= {HTTPStatus(int(status)) for status in operation.pop("x-mushu-statuses", [])}
    operation["responses"].pop("422", None)
    for status in sorted(statuses):
        if str(status.value) in operation["responses"]:
            continue  # the endpoint has an answer of its own form
        operation["responses"][str(status.value)] = {"description": status.phrase} | _PROBLEM
