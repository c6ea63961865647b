"""The page behind a one-time link, on which a user sets a password."""

from http import HTTPStatus

from flask import Blueprint, render_template, request

from mushu.secret import Secret
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.errors import Invalid, LinkNotFound
from mushu.server.users.links import get_link_user, redeem_link
from mushu.server.users.passwords import MIN_LENGTH
from mushu.server.web.guard import public
from mushu.server.web.problems import error_page
from mushu.server.web.sessions import remember_this_browser

PAGES = Blueprint("password", __name__)


@PAGES.get("/password/<link>")
@public
def ask_password(link: str) -> tuple[str, int]:
    """Show the form; looking does not use the link up, because mail scanners look, too."""
    try:
        with reading(db.session):
            user = get_link_user(db.session, get_core().clock, Secret(link))
    except LinkNotFound as error:
        return error_page(error)
    return _form(user.email)


@PAGES.post("/password/<link>")
@public
def set_password(link: str) -> tuple[str, int]:
    """Set the password. The link is the credential: no cookie proves anything here, so there is none to forge."""
    core = get_core()
    password, repeated = request.form.get("password", ""), request.form.get("repeated", "")
    try:
        with reading(db.session):
            user = get_link_user(db.session, core.clock, Secret(link))
        if password != repeated:
            return _form(user.email, "The two passwords differ. Type the same one twice.")
        hashed = core.passwords.hash(Secret(password))
        with writing(db.session):
            # Who holds the link and sets a password may sign in next, however many strangers are guessing.
            remember_this_browser(redeem_link(db.session, core.clock, Secret(link), hashed))
    except LinkNotFound as error:
        return error_page(error)
    except Invalid as error:
        return _form(user.email, error.detail)
    return render_template("password_set.html", email=user.email), HTTPStatus.OK


def _form(email: str, fault: str | None = None) -> tuple[str, int]:
    page = render_template("password.html", email=email, fault=fault, min_length=MIN_LENGTH)
    return page, HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK
