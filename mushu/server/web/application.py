"""The Flask application: it dispatches a request as Flask does, and leaves out what nobody here needs."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

from flask import Flask, Request, Response, request, signals
from flask.globals import request_ctx
from flask.json.provider import DefaultJSONProvider
from pydantic import BaseModel
from pydantic_core import to_json
from werkzeug.routing import MapAdapter

from mushu.server.core import resolve_once
from mushu.server.web.access_log import RULE
from mushu.server.web.bodies import BodyRequest
from mushu.server.web.extensions import KnownPaths, Rules
from mushu.server.web.response_headers import OF_DOCUMENT
from mushu.server.web.routes import LazyRule, Resource, blueprint
from mushu.server.web.templating import PageTemplates

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Answers with one of these have no body; nor have those of 1xx, which no view sends.
_BODILESS: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


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


class ApiApp(Flask):
    """A Flask app whose views may return a document, and whose requests are read in one place.

    A document is a Pydantic model, or a dictionary of what JSON has. What Flask does for each request is done here as
    it does, but for what nothing here needs: no function is a coroutine, and no signal is sent where nobody listens.
    """

    request_class = BodyRequest
    response_class = ListedResponse
    jinja_environment = PageTemplates
    json_provider_class = _OrderedJson
    url_rule_class = LazyRule

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: Each with its prefix, in the order of the reference.
        self.resources: list[tuple[Resource, str]] = []
        self._known: Rules = {}
        self._names: dict[str | None, tuple[str | None, ...]] = {}

    def mount(self, resource: Resource, prefix: str = "") -> None:
        """Serve a resource under a prefix; the reference names it."""
        self.resources.append((resource, prefix))
        self.register_blueprint(blueprint(resource, prefix))

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function as it is: none is a coroutine, and Flask would look at each in each request."""
        return func

    def create_url_adapter(self, request: Request | None) -> Any:
        make = super().create_url_adapter
        return None if request is None else KnownPaths(self._known, request, lambda: cast(MapAdapter, make(request)))

    def full_dispatch_request(self) -> Response:
        self._got_first_request = True
        asked = resolve_once(request_ctx).request
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
        asked = resolve_once(request)
        asked.environ[RULE] = asked.url_rule
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
        ctx: Any = resolve_once(request_ctx)
        for after in ctx._after_request_functions:  # noqa: SLF001
            response = after(response)
        for name in reversed(self._hooked(ctx.request)):
            for after in reversed(self.after_request_funcs.get(name, ())):
                response = after(response)
        self.session_interface.save_session(self, ctx._session, response)  # noqa: SLF001
        return response

    def do_teardown_request(self, exc: BaseException | None = None) -> None:
        asked = resolve_once(request)
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
