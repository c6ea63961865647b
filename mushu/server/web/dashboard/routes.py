"""The table of pages: each stands for live and for test, and what all of them have in common."""

from http import HTTPStatus
from typing import Final

from flask import Blueprint, Response, abort, request

from mushu.server.errors import SessionEnded
from mushu.server.web.dashboard import (
    audit_log,
    change,
    create,
    destination_changes,
    destinations,
    home,
    inviting,
    key_list,
    key_page,
    members,
    org_settings,
    rotate,
    rotation,
)
from mushu.server.web.dashboard.shell import LIVE, SANDBOX
from mushu.server.web.error_pages import pages_for_people, session_over
from mushu.server.web.guard import DASHBOARD
from mushu.server.web.guard import SANDBOX as UNDER_SANDBOX
from mushu.server.web.pages import EmptyForm

#: Method, rule below the organization, and the view.
PAGES: Final = (
    *home.PAGES, *key_list.PAGES, *key_page.PAGES, *create.PAGES, *change.PAGES, *rotate.PAGES, *rotation.PAGES,
    *destinations.PAGES, *destination_changes.PAGES, *members.PAGES, *inviting.PAGES, *audit_log.PAGES,
    *org_settings.PAGES,
)  # fmt: skip
#: A page loads its own script, and htmx with it; nothing from elsewhere, and nothing that is written in the page.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def dashboards() -> list[Blueprint]:
    """Return the pages for live and those for test."""
    return [_mounted(LIVE, DASHBOARD), _mounted(SANDBOX, f"{DASHBOARD}{UNDER_SANDBOX}")]


def _mounted(name: str, prefix: str) -> Blueprint:
    pages = pages_for_people(name, prefix)
    for method, rule, view in PAGES:
        pages.add_url_rule(rule, view_func=view, methods=[method], strict_slashes=False)
    pages.before_request(_check_token)
    pages.after_request(_allow_script)
    pages.register_error_handler(SessionEnded, session_over)
    return pages


def _check_token() -> None:
    """Refuse a form that is not from a page of this browser; the guard has decided before."""
    if request.method == "POST" and not EmptyForm().validate():
        abort(HTTPStatus.BAD_REQUEST)


def _allow_script(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = _POLICY
    return response
