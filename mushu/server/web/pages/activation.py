"""The page of the device flow: a signed-in user sees who asks, and approves or denies."""

from http import HTTPStatus

from flask import Blueprint, render_template, request

from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.errors import UserCodeNotFound
from mushu.server.tokens.devices import decide, get_waiting
from mushu.server.web.guard import in_browser
from mushu.server.web.pages.forms import UserCodeForm
from mushu.server.web.sessions import require_session_user

PAGES = Blueprint("activation", __name__)


@PAGES.get("/activate")
@in_browser
def ask_code() -> str:
    """Ask for the code; one that came with the link is filled in, and still has to be confirmed by a person."""
    return render_template("activate.html", form=UserCodeForm(data={"user_code": request.args.get("user_code")}))


@PAGES.post("/activate")
@in_browser
def show_request() -> tuple[str, int]:
    """Show what waits for the code: its name, where it is, since when."""
    form = UserCodeForm()
    if not form.validate():
        return render_template("activate.html", form=form), HTTPStatus.UNPROCESSABLE_ENTITY
    try:
        with reading(db.session):
            waiting = get_waiting(db.session, get_core().clock, form.user_code.data)
    except UserCodeNotFound as error:
        return render_template("activate.html", form=form, fault=error.detail), HTTPStatus.NOT_FOUND
    return render_template("approve.html", form=form, waiting=waiting, user=require_session_user()), HTTPStatus.OK


@PAGES.post("/activate/decision")
@in_browser
def decide_request() -> tuple[str, int]:
    """Approve or deny."""
    form, approve = UserCodeForm(), request.form.get("decision") == "approve"
    if not form.validate():
        return render_template("activate.html", form=form), HTTPStatus.UNPROCESSABLE_ENTITY
    try:
        with writing(db.session):
            decide(db.session, get_core().clock, require_session_user(), form.user_code.data, approve=approve)
    except UserCodeNotFound as error:
        return render_template("activate.html", form=form, fault=error.detail), HTTPStatus.NOT_FOUND
    return render_template("activated.html", approved=approve), HTTPStatus.OK
