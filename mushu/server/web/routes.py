"""Route tables: each resource lists its endpoints once, and the mount table in `app.py` says under which prefixes.

The published SDK (`mushu-sdk` 0.2) says `/apps/{app_id}` for what is `/tenants/…` here. Those paths are aliases: second
paths for the same endpoint, with the same guard. The reference names the first paths only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from flask import Blueprint, Flask, current_app, request
from pydantic import BaseModel
from werkzeug import Response
from werkzeug.routing import Rule

from mushu.environment import Environment
from mushu.server.core import get_core, resolve_once
from mushu.server.errors import Invalid
from mushu.server.web.arguments import with_arguments
from mushu.server.web.guard import SANDBOX
from mushu.server.web.problems import PLAIN_NAME

#: Method, rule, and the endpoint that answers.
ALIASES: Final = (
    ("POST", "/apps/<tenant_id>/devices", "devices.register_device"),
    ("GET", "/apps/<tenant_id>/devices", "devices.list_devices"),
    ("DELETE", "/apps/<tenant_id>/devices/<token>", "devices.unregister_device"),
    ("POST", "/apps/<tenant_id>/notify", "push.send_notification"),
    ("POST", "/apps/<tenant_id>/notify/bulk", "push.send_bulk_notification"),
    ("GET", "/media/app/<tenant_id>", "media.list_media_of_tenant"),
)

#: An answer: a document, or one that is described by hand, or none.
Answer: TypeAlias = type[BaseModel] | dict[str, Any] | None


def content(*media_types: str) -> dict[str, Any]:
    """Describe an answer that is no document, but bytes of one of these types."""
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {"description": "The bytes", "content": {media_type: dict(schema) for media_type in media_types}}


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint of a resource."""

    method: str
    rule: str
    view: Callable[..., Any]
    answer: type[BaseModel] | dict[str, Any]
    #: Further statuses it can refuse with, beyond those that its guard and its arguments imply.
    refusals: tuple[HTTPStatus, ...] = ()
    #: Answers of another form, by status.
    answers: Mapping[HTTPStatus, Answer] = field(default_factory=dict)
    #: Whether its body is bytes of any type.
    takes_bytes: bool = False


@dataclass(frozen=True, slots=True)
class Resource:
    """Endpoints that belong together; `name` is their heading in the reference."""

    name: str
    routes: Sequence[Route]
    #: Errors that these endpoints answer in a form of their own.
    own_errors: Mapping[type[Exception], Callable[..., Response]] = field(default_factory=dict)


class LazyRule(Rule):
    """A rule that learns to build its address when that is first asked for.

    Most are only matched. Werkzeug compiles two functions for each, which is nearly half of what making the app takes.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compiled: Callable[..., tuple[str, str]] | None = None

        def build(rule: Rule, /, **values: Any) -> tuple[str, str]:
            nonlocal compiled
            compiled = compiled or super(LazyRule, self)._compile_builder(append_unknown)
            return compiled(rule, **values)

        return build


def blueprint(resource: Resource, prefix: str) -> Blueprint:
    """Return a new blueprint of the resource; each prefix needs its own."""
    api = Blueprint(name_under(prefix, resource.name), __name__, url_prefix=prefix or None)
    api.before_request(refuse_unknown_parameters)
    for kind, answer in resource.own_errors.items():
        api.register_error_handler(kind, answer)
    for route in resource.routes:
        api.add_url_rule(route.rule, view_func=with_arguments(route.view), methods=[route.method])
    return api


def name_under(prefix: str, name: str) -> str:
    """Return what a resource, or a view of one, is called where it stands under this prefix."""
    environment = prefix.strip("/")
    return f"{environment}_{name}" if environment else name


def refuse_unknown_parameters() -> None:
    """Refuse a query parameter that the endpoint does not take, or takes once: a filter with a typo would match all.

    Runs after the guard. The name is repeated where it is a plain one; else it may be a credential in the wrong place.

    Raises:
        Invalid: there is one; the sentence says what the endpoint takes.
    """
    if not resolve_once(request).query_string:  # as most requests have it
        return
    view = current_app.view_functions[request.endpoint or ""]
    query = view.__annotations__.get("query")
    taken = [] if query is None else list(query.model_fields)
    for name, values in request.args.lists():
        if name in taken and len(values) == 1:
            continue
        shown = name if PLAIN_NAME.fullmatch(name) else "a parameter"
        wrong = "is given twice" if name in taken else "is not a query parameter of this endpoint"
        allowed = f"It takes {', '.join(taken)}" if taken else "It takes none"
        raise Invalid(f"{shown} {wrong}. {allowed}.", field=shown)


def add_aliases(app: Flask) -> None:
    """Add the aliases, for live and for test."""
    for method, rule, endpoint in ALIASES:
        app.add_url_rule(rule, endpoint=endpoint, methods=[method])
        app.add_url_rule(SANDBOX + rule, endpoint=f"{SANDBOX.strip('/')}_{endpoint}", methods=[method])


def absolute_url(environment: str, path: str) -> str:
    """Return the absolute URL of a path that stands for live and for test."""
    prefix = SANDBOX if environment == Environment.TEST else ""
    return f"{get_core().settings.base_url}{prefix}{path}"
