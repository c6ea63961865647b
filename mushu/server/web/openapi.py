"""The OpenAPI document: made by flask-openapi from the tables of routes, and changed to say how the server refuses.

`docs/decisions/0003-openapi-layer.md` says why this library, and what is worked around.
"""

import tomllib
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

from flask import Flask, Response, current_app

from mushu.batching import unhurried
from mushu.server.gate.access import Requirement
from mushu.server.web.application import ApiApp
from mushu.server.web.guard import SANDBOX, OrgPage, public, requirement_of
from mushu.server.web.problems import MEDIA_TYPE, Problem
from mushu.server.web.response_headers import CachedResponse
from mushu.server.web.routes import LazyRule, Resource, name_under

if TYPE_CHECKING:
    from flask_openapi.blueprint import APIBlueprint

DOCUMENT_PATH: Final = "/openapi.json"
_DOCUMENT: Final = "mushu_openapi"
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


class ApiDocument:
    """The OpenAPI document of an application: made when it is first asked for, which is seldom, and then kept.

    Args:
        resources: each with its prefix.
    """

    def __init__(self, resources: Sequence[tuple[Resource, str]], version: str, base_url: str) -> None:
        self._resources = resources
        self._version = version
        self._base_url = base_url
        self._lock = Lock()
        self._spec: dict[str, Any] = {}
        self._answer: CachedResponse | None = None

    @property
    def spec(self) -> dict[str, Any]:
        with self._lock:
            self._spec = self._spec or _document(self._resources, self._version, self._base_url)
            return self._spec

    def answer(self) -> Response:
        if self._answer is None:
            self._answer = CachedResponse(current_app.json.dumps(self.spec).encode() + b"\n", "application/json")
        return self._answer.answer()


def make_app() -> ApiApp:
    app = ApiApp("mushu.server.web")
    # One thing has one address. A redirect would repeat the path, and a path can hold a one-time link.
    app.url_map.merge_slashes = False
    public(app.view_functions["static"])
    return app


def serve_document(app: ApiApp, version: str, base_url: str) -> None:
    """Serve the document of what is mounted on the application, now and later."""
    app.extensions[_DOCUMENT] = ApiDocument(app.resources, version, base_url)

    @public
    def openapi_document() -> Response:
        return document_of(app).answer()

    app.add_url_rule(DOCUMENT_PATH, "openapi_document", openapi_document)


def document_of(app: Flask) -> ApiDocument:
    return cast(ApiDocument, app.extensions[_DOCUMENT])


@cache
def _library() -> ModuleType:
    """Return flask-openapi, which takes long to load, and is for the document alone.

    Each model is in the document for live and for test, and some in every operation: Pydantic is asked once for each.
    """
    import flask_openapi
    from flask_openapi import utils

    utils.get_model_schema = cache(utils.get_model_schema)
    return flask_openapi


def _described(resource: Resource, prefix: str) -> "APIBlueprint":
    """Return what flask-openapi makes a document of; nothing is served by it.

    Registering one blueprint twice would mix up its paths and give two operations one id.
    """
    library = _library()
    described: APIBlueprint = library.APIBlueprint(
        name_under(prefix, resource.name), __name__, url_prefix=prefix or None
    )
    environment = prefix.strip("/")
    tag = library.Tag(name=f"{resource.name} ({environment})" if environment else resource.name)
    for route in resource.routes:
        view_name = route.view.__name__
        register = getattr(described, route.method.lower())
        register(
            route.rule,
            operation_id=name_under(prefix, view_name),
            summary=(route.view.__doc__ or view_name).splitlines()[0],
            responses={HTTPStatus.OK: route.answer, **route.answers},
            tags=[tag],
            openapi_extensions={
                "x-mushu-statuses": [int(status) for status in route.refusals],
                "x-mushu-takes-bytes": route.takes_bytes,
            },
        )(route.view)
    return described


def _document(resources: Sequence[tuple[Resource, str]], version: str, base_url: str) -> dict[str, Any]:
    library = _library()
    app = library.OpenAPI(
        "mushu.server.web",
        info=library.Info(title="Mushu", version=version, description="A self-hosted authority for API keys."),
        doc_ui=False,
        security_schemes=_SCHEMES,
        validation_error_model=Problem,
        static_folder=None,
    )
    app.url_rule_class = LazyRule
    app.openapi_version = "3.1.0"
    for resource, prefix in unhurried(resources, 1):
        app.register_api(_described(resource, prefix))
    spec: dict[str, Any] = app.api_doc
    requirements = {
        (f"{prefix}{route.rule}".replace("<", "{").replace(">", "}"), route.method.lower()): requirement_of(route.view)
        for resource, prefix in resources
        for route in resource.routes
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
    return spec | {"servers": [{"url": base_url, "description": "This server"}]}


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
