"""What a view takes, made from the request: models of the path, the query, headers, and the body.

flask-openapi writes the schema of each model again for each request. So the same is done here without that.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import abort, request
from flask_openapi import request as library
from pydantic import BaseModel, ValidationError

from mushu.server.web.bodies import json_object
from mushu.server.web.problems import on_invalid_body

View = TypeVar("View", bound=Callable[..., Any])


def view_with(
    view: View,
    header: type[BaseModel] | None,
    cookie: type[BaseModel] | None,
    path: type[BaseModel] | None,
    query: type[BaseModel] | None,
    form: type[BaseModel] | None,
    body: type[BaseModel] | None,
    **_: Any,
) -> Callable[..., Any]:
    """Return what Flask calls for a view: it takes models, and answers 422 where one refuses what was sent.

    Args:
        view: takes those of `header`, `path`, `query`, `form` and `body` that have a model.

    Raises:
        TypeError: the view takes a cookie.
    """
    if cookie is not None:
        raise TypeError("a view of the API takes no cookie")
    if not any((header, path, query, form, body)):
        return view

    @wraps(view)
    def checked(**named: Any) -> Any:
        try:
            found = _arguments(header, path, query, form, body, named)
        except ValidationError as error:
            abort(on_invalid_body(error))
        return view(**found)

    return checked


def _arguments(
    header: type[BaseModel] | None,
    path: type[BaseModel] | None,
    query: type[BaseModel] | None,
    form: type[BaseModel] | None,
    body: type[BaseModel] | None,
    named: dict[str, Any],
) -> dict[str, Any]:
    """Return what a view takes; a body that is no object, and an unknown or repeated parameter were refused before."""
    found: dict[str, BaseModel] = {}
    if header is not None:
        names = [field.alias or name for name, field in header.model_fields.items()]
        sent = {name: value for name in names if (value := request.headers.get(name)) is not None}
        found["header"] = header.model_validate(sent)
    if path is not None:
        found["path"] = path.model_validate(named)
    if query is not None:
        found["query"] = query.model_validate(request.args.to_dict() if request.query_string else {})
    if body is not None:
        found["body"] = body.model_validate(json_object())
    if form is not None:
        library._validate_form(form, found)  # noqa: SLF001
    return found
