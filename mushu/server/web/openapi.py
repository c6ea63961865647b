"""The OpenAPI layer: flask-openapi, changed so that errors are problem documents and the OpenAPI document says so.

The application is of it, too: what Flask does for each request and nobody needs is left out.

`docs/decisions/0003-openapi-layer.md` says why this library, and what is worked around.
"""

import tomllib
from collections.abc import Callable, Iterable
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from flask import Request, Response, request, signals
from flask.globals import request_ctx
from flask.json.provider import DefaultJSONProvider
from flask_openapi import blueprint, utils
from flask_openapi.models.info import Info
from flask_openapi.openapi import OpenAPI
from pydantic import BaseModel
from pydantic_core import to_json
from werkzeug.routing import MapAdapter

from mushu.server.gate.access import Requirement
from mushu.server.web.bodies import BodyRequest
from mushu.server.web.extensions import KnownPaths, Rules
from mushu.server.web.guard import SANDBOX, public, requirement_of, view_with
from mushu.server.web.problems import MEDIA_TYPE, Problem, on_invalid_body
from mushu.server.web.response_headers import OF_DOCUMENT, CachedResponse
from mushu.server.web.routes import LazyRule

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from flask.ctx import RequestContext

#: Answers with one of these have no body; nor have those of 1xx, which no view sends.
_BODILESS: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
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


class ListedResponse(Response):
    """An answer whose body is a list where it is whole: a server sends that at once, and an iterator piece by piece."""

    @classmethod
    def of_document(cls, document: BaseModel | dict[str, Any]) -> "ListedResponse":
        content = to_json(document) + b"\n"
        made = cls([content], content_type="application/json")
        made.headers.add("Content-Length", str(len(content)))
        return made

    def get_wsgi_response(self, environ: "WSGIEnvironment") -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        headers = self.headers.to_wsgi_list()
        plain = self.status_code == HTTPStatus.OK and [name for name, _ in headers] == OF_DOCUMENT
        if plain and environ["REQUEST_METHOD"] != "HEAD" and isinstance(self.response, list) and not self._on_close:
            return self.response, self.status, headers
        return super().get_wsgi_response(environ)

    def get_app_iter(self, environ: "WSGIEnvironment") -> Iterable[bytes]:
        whole = isinstance(self.response, list) and not self._on_close
        if whole and environ["REQUEST_METHOD"] != "HEAD" and self.status_code not in _BODILESS:
            return list(self.iter_encoded())
        return super().get_app_iter(environ)


class _OrderedJson(DefaultJSONProvider):
    sort_keys = False


class ApiApp(OpenAPI):
    """A Flask app whose views may return a document, and whose requests are read in one place.

    A document is a Pydantic model, or a dictionary of what JSON has. What Flask does for each request is done here as
    it does, but for what nothing here needs: no function is a coroutine, and no signal is sent where nobody listens.
    """

    request_class = BodyRequest
    response_class = ListedResponse
    json_provider_class = _OrderedJson
    url_rule_class = LazyRule

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._known: Rules = {}
        self._names: dict[str | None, tuple[str | None, ...]] = {}

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function as it is: none is a coroutine, and Flask would look at each in each request."""
        return func

    def create_url_adapter(self, request: Request | None) -> Any:
        make = super().create_url_adapter
        return None if request is None else KnownPaths(self._known, request, lambda: cast(MapAdapter, make(request)))

    def full_dispatch_request(self) -> Response:
        self._got_first_request = True
        ctx: RequestContext = request_ctx._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        asked = ctx.request
        try:
            if signals.request_started.receivers:
                signals.request_started.send(self)
            answer = self.preprocess_request()
            if answer is None and asked.url_rule is not None and asked.method != "OPTIONS":
                answer = self.view_functions[asked.url_rule.endpoint](**(asked.view_args or {}))
            elif answer is None:
                answer = self.dispatch_request()
        except Exception as error:
            answer = self.handle_user_exception(error)
        return self.finalize_request(answer)

    def preprocess_request(self) -> Any:
        asked: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        names = self._hooked(asked)
        for name in names:
            for note in self.url_value_preprocessors.get(name, ()):
                note(asked.endpoint, asked.view_args)
        for name in names:
            for before in self.before_request_funcs.get(name, ()):
                answer = before()
                if answer is not None:
                    return answer
        return None

    def _hooked(self, asked: Request) -> tuple[str | None, ...]:
        """Return whose hooks are called for a request: those of all, and those of its blueprints."""
        names = self._names.get(asked.endpoint)
        if names is None:
            names = self._names[asked.endpoint] = (None, *reversed(asked.blueprints))
        return names

    def finalize_request(self, rv: Any, from_error_handler: bool = False) -> Response:
        if from_error_handler or signals.request_finished.receivers:
            return super().finalize_request(rv, from_error_handler)
        return self.process_response(self.make_response(rv))

    def process_response(self, response: Response) -> Response:
        ctx: Any = request_ctx._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        for after in ctx._after_request_functions:  # noqa: SLF001
            response = after(response)
        for name in reversed(self._hooked(ctx.request)):
            for after in reversed(self.after_request_funcs.get(name, ())):
                response = after(response)
        self.session_interface.save_session(self, ctx._session, response)  # noqa: SLF001
        return response

    def do_teardown_request(self, exc: BaseException | None = None) -> None:
        asked: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
        for name in reversed(self._hooked(asked)):
            for teardown in reversed(self.teardown_request_funcs.get(name, ())):
                teardown(exc)
        if signals.request_tearing_down.receivers:
            signals.request_tearing_down.send(self, exc=exc)

    def do_teardown_appcontext(self, exc: BaseException | None = None) -> None:
        for teardown in reversed(self.teardown_appcontext_funcs):
            teardown(exc)
        if signals.appcontext_tearing_down.receivers:
            signals.appcontext_tearing_down.send(self, exc=exc)

    def make_response(self, rv: Any) -> Response:
        if isinstance(rv, BaseModel | dict):
            return self.response_class.of_document(rv)
        response: Response = super().make_response(rv)
        return response


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


def _describe(operation: dict[str, Any], requirement: Requirement | str | None, *, has_path_parameters: bool) -> None:
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
