"""What pages of other origins may do with this server: upload to a signed address, and download from one.

A browser lets a page read an answer of another origin only where that answer says so, in the headers of CORS. Here a
view says so with a mark, and everything else on this server is closed to foreign pages: they may send it what a form
could send, as any page may to any server, and never see what comes back.

The mark is for views whose address is the permission: they look at no cookie and no credential, so whoever asks them
through somebody's browser gets nothing that they could not get by themselves. All origins may therefore, and none with
credentials: a browser refuses to read an answer to a request that carried cookies where the answer says `*`. A page may
send no `Authorization` along either, for the preflight allows one header only.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from flask import Flask, Response, current_app, request

from mushu.server.web.guard import PUBLIC, requirement_of

View = TypeVar("View", bound=Callable[..., Any])

_MARK: Final = "mushu_foreign_pages"
_ORIGIN: Final = ("Access-Control-Allow-Origin", "*")
#: What answers the question that a browser asks before a PUT, with OPTIONS. GET and HEAD need no permission.
_PREFLIGHT: Final = (("Access-Control-Allow-Methods", "PUT"), ("Access-Control-Allow-Headers", "Content-Type"))


def allow_all_origins(view: View) -> View:
    """Let pages of every origin read the answers of a view that is open to everybody, its refusals too.

    Raises:
        TypeError: it is not open to everybody; what a credential opens is never for foreign pages.
    """
    if requirement_of(view) != PUBLIC:
        raise TypeError(f"{view.__name__} asks who it is, so no foreign page may read its answers")
    setattr(view, _MARK, True)
    return view


def add_permission(response: Response) -> Response:
    """Add the headers of CORS to the answers of marked views; OPTIONS is answered by Flask, before any view runs."""
    if hasattr(current_app.view_functions.get(request.endpoint or ""), _MARK):
        response.headers.extend([_ORIGIN, *(_PREFLIGHT if request.method == "OPTIONS" else ())])
    return response


def install(app: Flask) -> None:
    app.after_request(add_permission)
