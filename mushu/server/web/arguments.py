"""What a view takes, made from the request: models of the path, the query, headers, and the body."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar, get_type_hints

from flask import abort, request
from pydantic import BaseModel, ValidationError

from mushu.server.web.bodies import form_fields, json_object
from mushu.server.web.problems import on_invalid_body

View = TypeVar("View", bound=Callable[..., Any])

_TAKEN: Final = ("header", "path", "query", "form", "body")


def with_arguments(view: View) -> Callable[..., Any]:
    """Return what Flask calls for a view: it takes models, and answers 422 where one refuses what was sent.

    Args:
        view: takes none, or some of `header`, `path`, `query`, `form` and `body`; its annotations name their models.

    Raises:
        TypeError: the view takes something else.
    """
    taken = {name: model for name, model in get_type_hints(view).items() if name != "return"}
    if unknown := taken.keys() - _TAKEN:
        raise TypeError(
            f"{view.__name__} takes {', '.join(sorted(unknown))}; a view of the API takes some of {', '.join(_TAKEN)}"
        )
    if not taken:
        return view
    header, path, query, form, body = (taken.get(name) for name in _TAKEN)

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
        found["form"] = form.model_validate(form_fields())
    return found
