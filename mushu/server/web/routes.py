"""Route tables: each resource lists its endpoints once, and the mount table says where they stand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeAlias

from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from pydantic import BaseModel
from werkzeug import Response

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


def blueprint(resource: Resource, prefix: str) -> APIBlueprint:
    """Return a new blueprint of the resource under `prefix`; one for each place where it stands.

    Registering one blueprint twice would mix up its paths and give two operations one id.
    """
    environment = prefix.strip("/")
    name = f"{environment}_{resource.name}" if environment else resource.name
    api = APIBlueprint(name, __name__, url_prefix=prefix or None)
    for kind, answer in resource.own_errors.items():
        api.register_error_handler(kind, answer)
    for route in resource.routes:
        view_name = route.view.__name__
        register = getattr(api, route.method.lower())
        register(
            route.rule,
            operation_id=f"{environment}_{view_name}" if environment else view_name,
            summary=(route.view.__doc__ or view_name).splitlines()[0],
            responses={HTTPStatus.OK: route.answer, **route.answers},
            tags=[Tag(name=f"{resource.name} ({environment})" if environment else resource.name)],
            openapi_extensions={
                "x-mushu-statuses": [int(status) for status in route.refusals],
                "x-mushu-takes-bytes": route.takes_bytes,
            },
        )(route.view)
    return api
