"""Signing in and out in a browser, and the one-time link with which a user sets the first password."""

from http import HTTPStatus

from flask import Response, make_response, redirect, render_template, request, url_for
from werkzeug import Response as BaseResponse

from mushu.secret import Secret
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.errors import Busy, Invalid, LinkNotFound, LoginRefused, TooManyAttempts
from mushu.server.mail import FORGOTTEN, send
from mushu.server.users.links import get_link_user, redeem_link
from mushu.server.users.login import LoginAttempt, sign_in
from mushu.server.users.models import User
from mushu.server.users.passwords import MIN_LENGTH
from mushu.server.web.error_pages import error_page, pages_for_people
from mushu.server.web.guard import in_browser, public
from mushu.server.web.pages import EmptyForm, ForgottenPasswordForm, SignInForm
from mushu.server.web.sessions import (
    begin_session,
    current_source,
    end_session,
    local_path,
    look_up_session,
    remember_this_browser,
    signed_in_user,
)

PAGES = pages_for_people("sign_in")


@PAGES.get("/login")
@public
def show_sign_in() -> BaseResponse:
    """Show the form, unless someone is signed in already."""
    wanted = local_path(request.args.get("next"))
    if signed_in_user() is not None:
        return redirect(wanted, HTTPStatus.SEE_OTHER)
    return _page(SignInForm(data={"next": wanted}), HTTPStatus.OK)


@PAGES.post("/login")
@public
def sign_in_here() -> BaseResponse:
    """Check e-mail and password, and begin a session."""
    core, form = get_core(), SignInForm()
    if not form.validate():
        return _page(form, HTTPStatus.UNPROCESSABLE_ENTITY)
    attempt = LoginAttempt(form.email.data, Secret(form.password.data), current_source())
    look_up_session()
    try:
        sign_in(db.session, core.clock, core.passwords, attempt, _enter)
    except LoginRefused as error:
        return _page(form, HTTPStatus.UNAUTHORIZED, error.detail)
    except TooManyAttempts as error:
        response = _page(form, HTTPStatus.TOO_MANY_REQUESTS, error.detail)
        response.headers["Retry-After"] = str(error.retry_after)
        return response
    return redirect(local_path(form.next.data), HTTPStatus.SEE_OTHER)


@PAGES.get("/forgotten-password")
@public
def ask_for_link() -> str:
    """Show the form; where no mail is sent, say what the operator can do."""
    return _forgotten_page(ForgottenPasswordForm())


@PAGES.post("/forgotten-password")
@public
def mail_link() -> tuple[str, int]:
    """Mail a link; the answer is the same where there is no such account."""
    core, form = get_core(), ForgottenPasswordForm()
    if not core.settings.smtp_url or not form.validate():
        return _forgotten_page(form), HTTPStatus.UNPROCESSABLE_ENTITY

    def send_link(recipient: str, secret: Secret) -> None:
        send(core.settings, recipient, FORGOTTEN, f"{core.settings.base_url}/password/{secret.reveal()}")

    try:
        core.postman.ask_for_link(db.session, core.clock, form.email.data, current_source().network, send_link)
    except (TooManyAttempts, Busy) as error:
        return _forgotten_page(form, error.detail), HTTPStatus.TOO_MANY_REQUESTS
    return _forgotten_page(form, asked=True), HTTPStatus.OK


@PAGES.post("/logout")
@in_browser
def sign_out() -> BaseResponse:
    """End the session."""
    if EmptyForm().validate():
        end_session()
    return redirect(url_for("sign_in.show_sign_in"), HTTPStatus.SEE_OTHER)


@PAGES.get("/password/<link>")
@public
def ask_password(link: str) -> tuple[str, int]:
    """Show the form; looking does not use the link up, because mail scanners look, too."""
    try:
        with reading(db.session):
            user = get_link_user(db.session, get_core().clock, Secret(link))
    except LinkNotFound as error:
        return error_page(error)
    return _password_form(user.email)


@PAGES.post("/password/<link>")
@public
def set_password(link: str) -> tuple[str, int]:
    """Set the password. The link is the credential: no cookie proves anything here, so no CSRF token is needed."""
    password, repeated = request.form.get("password", ""), request.form.get("repeated", "")
    try:
        with reading(db.session):
            user = get_link_user(db.session, get_core().clock, Secret(link))
        if password != repeated:
            return _password_form(user.email, "The two passwords differ. Type the same one twice.")
        _redeem(Secret(link), Secret(password))
    except LinkNotFound as error:
        return error_page(error)
    except Invalid as error:
        return _password_form(user.email, error.detail)
    return render_template("password_set.html", email=user.email), HTTPStatus.OK


def _redeem(link: Secret, password: Secret) -> None:
    core = get_core()
    hashed = core.passwords.hash(password)
    with writing(db.session):
        # This user may sign in next, however many strangers are guessing at the password.
        remember_this_browser(redeem_link(db.session, core.clock, link, hashed))


def _enter(user: User) -> None:
    remember_this_browser(user)
    begin_session(user)


def _page(form: SignInForm, status: HTTPStatus, fault: str | None = None) -> Response:
    return make_response(render_template("sign_in.html", form=form, fault=fault), status)


def _forgotten_page(form: ForgottenPasswordForm, fault: str | None = None, *, asked: bool = False) -> str:
    can_mail = bool(get_core().settings.smtp_url)
    return render_template("forgotten_password.html", form=form, fault=fault, asked=asked, can_mail=can_mail)


def _password_form(email: str, fault: str | None = None) -> tuple[str, int]:
    page = render_template("password.html", email=email, fault=fault, min_length=MIN_LENGTH)
    return page, HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK
