"""Errors as pages, for people: the words of the problem document, what was changed, and where to go on."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from flask import Blueprint, Response, current_app, make_response, render_template, request, url_for
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import RequestRedirect

from mushu.server.errors import MissingScope, MushuError, OperatorRequired, OwnerRequired, SessionEnded
from mushu.server.web.problems import HANDLERS, Problem
from mushu.server.web.sessions import ask_to_sign_in, session_email

_KEPT: Final = ("Allow", "Retry-After")
_OPEN_TOO_LONG: Final = (
    "This page was open for too long, or cookies are switched off. Open it again, and try once more."
)
_NOTHING: Final = (
    "Nothing here that you may see",
    "Either there is no such page, or it is of an organization that you are no member of. Mushu does not say which.",
)
#: What it takes instead, by what is refused.
_NEEDED: Final = {
    MissingScope: "the role admin or owner",
    OwnerRequired: "the role owner",
    OperatorRequired: "an operator of the server",
}


@dataclass(frozen=True, slots=True)
class Way:
    """A link that leads on from an error."""

    words: str
    href: str


def error_page(error: MushuError, status: HTTPStatus = HTTPStatus.NOT_FOUND) -> tuple[str, int]:
    """Return a page for people with the error's own words."""
    return _page(status, error.title, error.detail), status


def pages_for_people(name: str, prefix: str | None = None) -> Blueprint:
    """Return a new blueprint: what fails in its views, or before them, is answered as a page."""
    pages = Blueprint(name, __name__, url_prefix=prefix)
    for kind, handler in HANDLERS.items():
        pages.register_error_handler(kind, _as_page(handler))
    pages.register_error_handler(SessionEnded, lambda _: ask_to_sign_in())
    return pages


def _as_page(handler: Callable[[Any], Response]) -> Callable[[Any], Response]:
    def answer(error: Any) -> Response:
        if isinstance(error, RequestRedirect):
            return make_response(error)
        refused = handler(error)
        found = Problem.model_validate_json(refused.get_data())
        title, detail = _words(error, found)
        page = make_response(_page(HTTPStatus(found.status), title, detail), found.status)
        page.headers.extend([(name, refused.headers[name]) for name in _KEPT if name in refused.headers])
        return page

    return answer


def _words(error: Exception, found: Problem) -> tuple[str, str]:
    """Return the title and a sentence for people, who do not know of credentials and scopes."""
    for kind, needed in _NEEDED.items():
        if isinstance(error, kind):
            who = f"You are signed in as {session_email()}."
            return "Your role does not permit this", f"{who} This takes {needed}. Nothing was changed."
    if found.status == HTTPStatus.NOT_FOUND:
        return _NOTHING
    if found.status == HTTPStatus.BAD_REQUEST and isinstance(error, HTTPException):
        return "Nothing was changed", _OPEN_TOO_LONG
    return found.title, found.detail


def nothing_there(_: MushuError) -> tuple[str, int]:
    """Answer as if there were no such page."""
    return _page(HTTPStatus.NOT_FOUND, *_NOTHING), HTTPStatus.NOT_FOUND


def session_over(_: SessionEnded) -> Any:
    """Say that a form changed nothing, and where to go on; send what only looked to the sign-in page."""
    if request.method in ("GET", "HEAD"):
        return ask_to_sign_in()
    back = request.path if _can_be_shown(request.path) else url_for("start.open_home")
    words = "Twelve hours have passed, or you signed out. Nothing was changed by your last click."
    ways = [Way("Sign in and go on", url_for("sign_in.show_sign_in", next=back))]
    return _page(HTTPStatus.UNAUTHORIZED, "Your session is over", words, ways), HTTPStatus.UNAUTHORIZED


def sent_before(title: str, detail: str, ways: list[Way]) -> Response:
    """Say that a form did what it does when it was sent the first time, and nothing now."""
    return make_response(_page(HTTPStatus.GONE, title, detail, ways), HTTPStatus.GONE)


def _can_be_shown(path: str) -> bool:
    """Tell whether this organization has a page at the address of a form."""
    try:
        endpoint, _ = current_app.url_map.bind("").match(path, method="GET")
    except (NotFound, MethodNotAllowed, RequestRedirect):
        return False
    return bool(endpoint.rpartition(".")[0] == request.blueprint)


def _page(status: HTTPStatus, title: str, detail: str, ways: list[Way] | None = None) -> str:
    if ways is None:
        ways = [Way("Your organizations", url_for("start.list_organizations"))]
    return render_template("error.html", status=int(status), title=title, detail=detail, ways=ways)
