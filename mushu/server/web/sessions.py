"""Browser sessions: Flask-Login, with cookies that only this server reads, and that end when they should.

A session says who signed in and when. It is checked against the user on every request, so that it ends at once when the
password changes or the user is disabled.
"""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final, cast

from flask import Flask, redirect, request, session, url_for
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from flask_wtf.csrf import CSRFProtect
from werkzeug import Response

from mushu.server.config import Settings
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.users.models import User
from mushu.server.users.service import find_user

LIFETIME: Final = timedelta(hours=12)
_SINCE: Final = "since"


class SessionUser(UserMixin):  # type: ignore[misc]
    """The signed-in user of a page."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.id = user.id


def signed_in_user() -> User | None:
    """Return the user who is signed in in this browser."""
    return cast(SessionUser, current_user).user if current_user.is_authenticated else None


def require_session_user() -> User:
    """Return the user who is signed in in this browser; the guard lets nobody else to the views that ask."""
    return cast(SessionUser, current_user).user


def begin_session(user: User) -> None:
    """Sign the user in in this browser; whatever the session held before is gone."""
    session.clear()
    session[_SINCE] = get_core().clock().timestamp()
    login_user(SessionUser(user))


def end_session() -> None:
    """Sign out in this browser."""
    logout_user()
    session.clear()


def ask_to_sign_in() -> Response:
    """Send the browser to the sign-in page, and back to where it wanted to go."""
    # Only what was asked for with GET can be asked for again.
    wanted = request.full_path.rstrip("?") if request.method == "GET" else None
    return redirect(url_for("signing_in.show_sign_in", next=wanted), HTTPStatus.SEE_OTHER)


def local_path(wanted: str | None) -> str:
    """Return `wanted` if it is a path of this server, or else the account page: a link must not lead people away."""
    plain = wanted is not None and wanted.startswith("/") and wanted.isprintable()
    if wanted is None or not plain or wanted.startswith("//") or "\\" in wanted:
        return url_for("account.show_account")
    return wanted


def install(app: Flask, settings: Settings) -> None:
    encrypted = settings.base_url.startswith("https://")
    app.config.update(
        # A browser takes a cookie named __Host- only over https, for this host and all of it.
        SESSION_COOKIE_NAME="__Host-mushu" if encrypted else "mushu",
        SESSION_COOKIE_SECURE=encrypted,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        PERMANENT_SESSION_LIFETIME=LIFETIME,
        # Forms check their token themselves; the API has no cookie to be abused.
        WTF_CSRF_CHECK_DEFAULT=False,
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_SSL_STRICT=encrypted,
    )
    manager = LoginManager(app)
    manager.session_protection = None  # it would end sessions when a laptop changes networks
    manager.user_loader(_load)
    CSRFProtect(app)


def _load(user_id: str) -> SessionUser | None:
    """Return the user of the session, if it is still good."""
    now, since = get_core().clock(), datetime.fromtimestamp(session.get(_SINCE, 0), UTC)
    if not since <= now < since + LIFETIME:
        return None
    with reading(db.session):
        user = find_user(db.session, user_id)
    if user is None or user.disabled_at is not None or since < user.tokens_valid_from:
        return None
    return SessionUser(user)
