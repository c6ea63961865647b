"""What a signed-in user sees: who they are, their CLI tokens and browsers, their password, their apps' outbox."""

from functools import partial
from http import HTTPStatus
from typing import Final

from flask import abort, redirect, render_template, url_for
from werkzeug import Response as BaseResponse

from mushu.secret import Secret
from mushu.server.audit import Actor, ActorKind
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.errors import Invalid, LoginRefused, TooManyAttempts
from mushu.server.orgs.service import list_orgs_of_user
from mushu.server.paging import iterate
from mushu.server.resources.notifications.outcomes import newest_in_outbox
from mushu.server.tokens.service import list_tokens, revoke_token_of
from mushu.server.tokens.sessions import end_session, list_sessions
from mushu.server.users.known_clients import remember_network
from mushu.server.users.login import change_password
from mushu.server.users.models import User
from mushu.server.web.error_pages import pages_for_people
from mushu.server.web.guard import in_browser
from mushu.server.web.pages import ChangePasswordForm, EmptyForm
from mushu.server.web.sessions import (
    begin_session,
    current_session_id,
    current_source,
    remember_this_browser,
    require_session_user,
    session_email,
)

PAGES = pages_for_people("account")
#: How many notifications the outbox shows.
_NEWEST: Final = 50


@PAGES.get("/account")
@in_browser
def show_account() -> str:
    """Show who is signed in, and the CLI tokens and browser sessions that are good."""
    user, clock = require_session_user(), get_core().clock
    with reading(db.session):
        tokens = list(iterate(partial(list_tokens, db.session, clock, user.id)))
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


@PAGES.route("/account/password", methods=["GET", "POST"])
@in_browser
def password() -> tuple[str, int] | BaseResponse:
    """Change the password; every session and token from before ends, but for this one session."""
    form = ChangePasswordForm()
    if not form.is_submitted():
        return _password_page(form)
    if not form.validate() or form.password.data != form.repeated.data:
        return _password_page(form, "The new password must be typed twice, the same both times.")
    try:
        core, old, new = get_core(), Secret(form.current.data), Secret(form.password.data)
        change_password(db.session, core.clock, core.passwords, require_session_user(), old, new, then=_sign_in_again)
    except (Invalid, LoginRefused, TooManyAttempts) as error:
        return _password_page(form, error.detail)
    return redirect(url_for("account.show_account"), HTTPStatus.SEE_OTHER)


@PAGES.get("/outbox")
@in_browser
def show_outbox() -> str:
    """Show the newest notifications that were recorded, not sent: their tenants have no credentials of Apple."""
    user = require_session_user()
    with reading(db.session):
        orgs = iterate(partial(list_orgs_of_user, db.session, user.id))
        entries = newest_in_outbox(db.session, [org.id for org in orgs], _NEWEST)
    return render_template("outbox.html", entries=entries, most=_NEWEST)


def _sign_in_again(user: User) -> None:
    remember_network(db.session, get_core().clock, user, current_source())
    remember_this_browser(user)
    begin_session(user)


def _password_page(form: ChangePasswordForm, fault: str | None = None) -> tuple[str, int]:
    email = session_email()
    page = render_template("change_password.html", form=form, fault=fault, email=email)
    return page, HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK
