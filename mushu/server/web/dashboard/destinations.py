"""Destinations: their names, what each holds and whether it still does."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from flask import Response, flash, redirect, request
from werkzeug import Response as BaseResponse

from mushu.server import destinations as service
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.delivery.drift import DriftChecker, DriftResult, KeyFilter
from mushu.server.delivery.inspection import refusal_of
from mushu.server.delivery.models import Condition
from mushu.server.keys import Scope
from mushu.server.keys.service import get_key_of
from mushu.server.paging import CURSOR_LENGTH, Window
from mushu.server.web.dashboard.destination_rows import FOUND, lines_of
from mushu.server.web.dashboard.shell import page, to
from mushu.server.web.guard import current_environment, current_org, org_page
from mushu.server.web.sessions import require_session_user
from mushu.server.web.templating import counted

#: Destinations of one page.
_PAGE: Final = 50
#: Seconds that a look may take: somebody waits for the page.
PATIENCE: Final = 10.0
#: What a form has room for besides the URI: a name and a value each.
SETTINGS: Final = 4


@org_page(Scope.ADMIN)
def show_destinations(org_id: str) -> Response:  # noqa: ARG001 - the session has it
    """Show the destinations of an organization and environment, by name."""
    return list_page()


@org_page(Scope.ADMIN)
def check_destination(org_id: str, name: str) -> BaseResponse:
    """Look whether a destination still holds its key, or would take one; noted where a key is there."""
    with reading(db.session):
        uri = service.get(db.session, org_id, name).uri
    found = _look(KeyFilter(org_id=org_id, uri=uri))
    flash(f"{name}: {_told(found, None if found else refusal_of(get_core().open_destination, uri, PATIENCE))}")
    return _to_list()


@org_page(Scope.ADMIN)
def check_key(org_id: str, key_id: str) -> BaseResponse:
    """Look whether the destinations of a key still hold it; its page says what was found at each."""
    with reading(db.session):
        key = get_key_of(db.session, org_id, current_environment(), key_id)
    found = _look(KeyFilter(org_id=org_id, key_id=key.id))
    flash(f"Mushu looked at {counted(len(found), 'destination')}. What is there stands at “Where it is”.")
    return redirect(to("show_key", key_id=key.id), HTTPStatus.SEE_OTHER)


def list_page(fault: str | None = None) -> Response:
    """Return the page of destinations, with what is wrong with the form that adds one."""
    cursor = request.args.get("cursor", "")[:CURSOR_LENGTH] or None
    with reading(db.session):
        found = service.list_destinations(db.session, current_org(), Window(_PAGE, cursor))
        lines = lines_of(db.session, found.rows)
    wrong = [(line, held) for line in lines for held in line.keys if held.tone == "bad" and held.key is not None]
    status = HTTPStatus.OK if fault is None else HTTPStatus.UNPROCESSABLE_ENTITY
    form = {"name": request.form.get("name", ""), "uri": request.form.get("uri", "")}
    return page(
        "destinations", status, lines=lines, wrong=wrong, next_cursor=found.next_cursor, cursor=cursor,
        fault=fault, form=form, settings=SETTINGS,
    )  # fmt: skip


def _look(wanted: KeyFilter) -> list[DriftResult]:
    core = get_core()
    return [*DriftChecker(db.session, core.clock, core.open_destination, PATIENCE).check(wanted)]


def _told(found: Sequence[DriftResult], refusal: str | None) -> str:
    """Return what a look found; why in the words of a plugin only to an operator, for they may name files."""
    wrong = [one for one in found if one.condition is not Condition.OK]
    if refusal is None and not wrong:
        return "it holds its key, as it should." if found else "it is free, and a key can be put there."
    if require_session_user().operator_since is None:
        words = FOUND[wrong[0].condition][1] if wrong else "No key can be put there now"
        return f"{words}. An operator sees why."
    return refusal or " ".join(one.detail for one in wrong)


def _to_list() -> BaseResponse:
    return redirect(to("show_destinations"), HTTPStatus.SEE_OTHER)


PAGES: Final = (
    ("GET", "/destinations", show_destinations),
    ("POST", "/destinations/<name>/check", check_destination),
    ("POST", "/keys/<key_id>/check", check_key),
)
