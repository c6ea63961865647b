"""The two cookies of a browser: its session, and the mark that a user signed in here before.

The session is Flask-Login's; its cookie holds a random secret that has a row in the database. The row is looked up on
every request (`tokens/sessions.py`), so a session ends at once: by signing out, when the password changes, when the
user is disabled, after its time. A copy of the cookie ends with it.

The other cookie is what OWASP calls a device cookie (`users/known_clients.py`). It opens nothing: it gives a few tries
that no stranger can use up. It is random, kept as a digest, and good for the one user who signed in with it.
"""

from http import HTTPStatus
from typing import Any, Final, cast

from flask import Flask, Request, Response, after_this_request, redirect, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from itsdangerous import URLSafeTimedSerializer
from werkzeug import Response as BaseResponse

from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server.audit import Actor, ActorKind
from mushu.server.config import Settings
from mushu.server.core import db, get_core, reader_in, resolve_once
from mushu.server.db import writing
from mushu.server.errors import SessionEnded
from mushu.server.gate.proof import BrowserProof
from mushu.server.tokens import sessions
from mushu.server.tokens.models import LIFETIME
from mushu.server.users.known_clients import LIFETIME as KNOWN_LIFETIME
from mushu.server.users.known_clients import SignInSource, remember_browser
from mushu.server.users.models import User
from mushu.server.web.proxy_headers import current_address

#: What `remember_browser` gives has 43 letters.
_LONGEST: Final = 64


class CookieSessions(SecureCookieSessionInterface):
    """Flask's sessions; what comes without a cookie, as programs do, gets an empty one and costs nothing."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        return super().open_session(app, request) if "HTTP_COOKIE" in request.environ else self.session_class()

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        """Return the one of the application, which is made once."""
        if "mushu_cookies" not in app.extensions:
            app.extensions["mushu_cookies"] = super().get_signing_serializer(app)
        return cast(URLSafeTimedSerializer | None, app.extensions["mushu_cookies"])

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if session or session.modified:
            super().save_session(app, session, response)


class SessionUser(UserMixin):  # type: ignore[misc]
    """The signed-in user of a page, by way of the session that their cookie stands for.

    Args:
        user: with `id`, `email`, `name` and `operator_since`, as they were read.
    """

    def __init__(self, user: Any, session_id: str, secret: Secret) -> None:
        self.user = user
        self.email: str = user.email  # of a row nothing can be read after a transaction that was rolled back
        self.session_id = session_id
        self.secret = secret

    def get_id(self) -> str:
        """Return what Flask-Login keeps in the cookie."""
        return self.secret.reveal()


def signed_in_user() -> Any | None:
    """Return what is known of the user who is signed in in this browser: `id`, `email`, `name`, `operator_since`."""
    found = resolve_once(current_user)
    return cast(SessionUser, found).user if found.is_authenticated else None


def require_session_user() -> Any:
    """Return the same of who is there for sure; only views that are marked `in_browser` may call this."""
    return cast(SessionUser, current_user).user


def session_email() -> str:
    """Return the address of who is signed in in this browser; only views that are marked `in_browser` may call this."""
    return cast(SessionUser, current_user).email


def current_session_id() -> str:
    """Return the session of this browser; only views that are marked `in_browser` may call this."""
    return cast(SessionUser, current_user).session_id


def session_proof() -> BrowserProof:
    """Return what proves again that the session of this browser is good."""
    signed_in = cast(SessionUser, resolve_once(current_user))
    return BrowserProof(get_core().clock, signed_in.secret, signed_in.session_id, signed_in.user.id)


def look_up_session() -> None:
    """Look up who is signed in in this browser; must be called before a transaction that may begin another session."""
    _ = current_user.is_authenticated


def begin_session(user: User) -> None:
    """Sign the user in in this browser, in the caller's transaction; what the browser held before has ended.

    The caller knows who is signed in, or has called `look_up_session` before its transaction.
    """
    if current_user.is_authenticated:
        _end(cast(SessionUser, current_user))
    visitor = sessions.Visitor(request.remote_addr or "unknown", request.headers.get("User-Agent", ""))
    row, secret = sessions.start_session(db.session, get_core().clock, user, visitor)
    session.clear()
    login_user(SessionUser(user, row.id, secret))


def end_session() -> None:
    """Sign out in this browser; owns a transaction."""
    with writing(db.session):
        _end(cast(SessionUser, current_user))
    logout_user()
    session.clear()


def _end(ending: SessionUser) -> None:
    actor = Actor(ActorKind.USER, ending.user.id)
    sessions.end_session(db.session, get_core().clock, actor, ending.user.id, ending.session_id)


def ask_to_sign_in() -> BaseResponse:
    """Send the browser to the sign-in page, and back to where it wanted to go."""
    # Only what was asked for with GET can be asked for again.
    wanted = request.full_path.rstrip("?") if request.method == "GET" else None
    return redirect(url_for("sign_in.show_sign_in", next=wanted), HTTPStatus.SEE_OTHER)


def local_path(wanted: str | None) -> str:
    """Return `wanted` if it is a path of this server, or else where a browser begins: no link leads to another site."""
    plain = wanted is not None and wanted.startswith("/") and wanted.isprintable()
    if wanted is None or not plain or wanted.startswith("//") or "\\" in wanted:
        return url_for("start.open_home")
    return wanted


def current_source() -> SignInSource:
    """Return where an attempt to sign in on this page comes from."""
    return SignInSource(current_address(), _known_cookie())


def remember_this_browser(user: User) -> None:
    """Know this browser from now on; called in the transaction that proved who the user is."""
    secret = remember_browser(db.session, get_core().clock, user, _known_cookie())

    @after_this_request
    def set_cookie(response: BaseResponse) -> BaseResponse:
        encrypted = _is_encrypted(get_core().settings)
        # As with the cookie of the session, a browser takes this one only for this host, and all of it.
        response.set_cookie(
            _known_name(), secret.reveal(), max_age=KNOWN_LIFETIME, secure=encrypted, httponly=True, samesite="Strict"
        )
        return response


def _known_cookie() -> Secret | None:
    held = request.cookies.get(_known_name(), "")
    return Secret(held) if 0 < len(held) <= _LONGEST else None


def _known_name() -> str:
    return "__Host-mushu-known" if _is_encrypted(get_core().settings) else "mushu-known"


def install(app: Flask, settings: Settings) -> None:
    encrypted = _is_encrypted(settings)
    app.config.update(
        # A browser takes a cookie named __Host- only over https, for this host and all of it.
        SESSION_COOKIE_NAME="__Host-mushu" if encrypted else "mushu",
        SESSION_COOKIE_SECURE=encrypted,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        PERMANENT_SESSION_LIFETIME=LIFETIME,
        WTF_CSRF_TIME_LIMIT=None,
    )
    app.session_interface = CookieSessions()
    # Neither Flask-Login nor Flask-WTF is given the app, or their hooks would run for each request of the API: nobody
    # is remembered without a session, and forms check their token themselves.
    manager = app.login_manager = LoginManager()  # type: ignore[attr-defined]
    manager.session_protection = None  # it would end sessions when a laptop changes networks
    manager.user_loader(_load)
    app.register_error_handler(SessionEnded, lambda _: ask_to_sign_in())


def _load(text: str) -> SessionUser | None:
    """Return the user of the session, if it is still good."""
    secret = Secret(text)
    found = sessions.read_session(reader_in(Environment.LIVE), get_core().clock, secret)  # of no environment
    return SessionUser(found, found.session_id, secret) if found is not None else None


def _is_encrypted(settings: Settings) -> bool:
    return settings.base_url.startswith("https://")
