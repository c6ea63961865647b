"""Where a browser begins: an organization of who is signed in, or the list of all of them."""

from http import HTTPStatus

from flask import abort, redirect, render_template, request, url_for
from werkzeug import Response as BaseResponse

from mushu.server.core import db
from mushu.server.db import reading
from mushu.server.orgs.service import list_orgs_of_user
from mushu.server.paging import CURSOR_LENGTH, Window
from mushu.server.web.dashboard.shell import LIVE
from mushu.server.web.error_pages import pages_for_people
from mushu.server.web.guard import in_browser
from mushu.server.web.sessions import require_session_user

PAGES = pages_for_people("start")


@PAGES.get("/")
@in_browser
def open_home() -> BaseResponse:
    """Lead to the first organization of who is signed in; where there is none, to the page that says so."""
    with reading(db.session):
        orgs = list_orgs_of_user(db.session, require_session_user().id, Window(1)).rows
    home = [url_for(f"{LIVE}.show_home", org_id=org.id) for org in orgs]
    there = home[0] if home else url_for("start.list_organizations")
    return redirect(there, HTTPStatus.SEE_OTHER)


@PAGES.get("/dashboard/<path:rest>")
@in_browser
def find_nothing(rest: str) -> BaseResponse:  # noqa: ARG001 - no other page has it
    """Say that there is no such page."""
    abort(HTTPStatus.NOT_FOUND)


@PAGES.get("/dashboard")
@in_browser
def list_organizations() -> str:
    """Show the organizations that the user belongs to."""
    user, cursor = require_session_user(), request.args.get("cursor", "")[:CURSOR_LENGTH] or None
    with reading(db.session):
        found = list_orgs_of_user(db.session, user.id, Window(cursor=cursor))
    return render_template("organizations.html", user=user, found=found, home=f"{LIVE}.show_home")
