"""What a signed-in user sees of themselves: who they are, their CLI tokens and browsers, their password."""

from http import HTTPStatus

from flask import Blueprint, abort, redirect, render_template, url_for
from werkzeug import Response as BaseResponse

from mushu.secret import Secret
from mushu.server.audit.service import Actor, ActorKind
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.errors import Invalid, LoginRefused, TooManyAttempts
from mushu.server.tokens.browser import end_session, list_sessions
from mushu.server.tokens.service import list_tokens, revoke_token_of
from mushu.server.users.known_clients import remember_network
from mushu.server.users.login import change_password
from mushu.server.users.models import User
from mushu.server.web.guard import in_browser
from mushu.server.web.pages.forms import ChangePasswordForm, EmptyForm
from mushu.server.web.sessions import (
    begin_session,
    current_session_id,
    current_source,
    remember_this_browser,
    require_session_user,
)

PAGES = Blueprint("account", __name__)


@PAGES.get("/")
@in_browser
def show_account() -> str:
    """Show who is signed in, and the CLI tokens and browser sessions that are good."""
    user, clock = require_session_user(), get_core().clock
    with reading(db.session):
        tokens = list_tokens(db.session, clock, user.id)
        sessions = list_sessions(db.session, clock, user.id)
    here = current_session_id()
    return render_template("account.html", user=user, tokens=tokens, sessions=sessions, here=here, form=EmptyForm())


@PAGES.post("/account/tokens/<token_id>/revoke")
@in_browser
def revoke(token_id: str) -> BaseResponse:
    """Revoke one of the user's CLI tokens."""
    user = require_session_user()
    if not EmptyForm().validate():
        abort(HTTPStatus.BAD_REQUEST)
    with writing(db.session):
        revoke_token_of(db.session, get_core().clock, Actor(ActorKind.USER, user.id), user.id, token_id)
    return redirect(url_for("account.show_account"), HTTPStatus.SEE_OTHER)


@PAGES.post("/account/sessions/<session_id>/end")
@in_browser
def end(session_id: str) -> BaseResponse:
    """Sign one of the user's browsers out."""
    user = require_session_user()
    if not EmptyForm().validate():
        abort(HTTPStatus.BAD_REQUEST)
    with writing(db.session):
        end_session(db.session, get_core().clock, Actor(ActorKind.USER, user.id), user.id, session_id)
    return redirect(url_for("account.show_account"), HTTPStatus.SEE_OTHER)


def _go_on(user: User) -> None:
    remember_network(db.session, get_core().clock, user, current_source())
    remember_this_browser(user)
    begin_session(user)


@PAGES.route("/account/password", methods=["GET", "POST"])
@in_browser
def password() -> tuple[str, int] | BaseResponse:
    """Change the password; every session and token from before ends, but for this one session."""
    core, form = get_core(), ChangePasswordForm()
    fault = None
    if form.is_submitted():
        if form.validate() and form.password.data == form.repeated.data:
            try:
                secrets = Secret(form.current.data), Secret(form.password.data)
                user = require_session_user()
                change_password(db.session, core.clock, core.passwords, user, *secrets, then=_go_on)
                return redirect(url_for("account.show_account"), HTTPStatus.SEE_OTHER)
            except (Invalid, LoginRefused, TooManyAttempts) as error:
                fault = error.detail
        else:
            fault = "The new password must be typed twice, the same both times."
    status = HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK
    return render_template("change_password.html", form=form, fault=fault), status
