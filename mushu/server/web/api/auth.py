from http import HTTPStatus
from typing import Literal

from pydantic import BaseModel

from mushu.secret import Secret
from mushu.server.clock import rfc3339
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.errors import LoginRefused
from mushu.server.tokens.service import LIFETIME, issue_token, revoke_token
from mushu.server.users.service import check_password, find_user, find_user_by_email, get_user
from mushu.server.web.api.models import Body, Text
from mushu.server.web.guard import current_user, public, signed_in
from mushu.server.web.routes import Resource, Route


class Login(Body):
    email: Text
    password: Text


class LoginUser(BaseModel):
    user_id: str
    email: str


class LoginAnswer(BaseModel):
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_in: int
    expires_at: str
    user: LoginUser


class Validation(BaseModel):
    valid: bool
    user_id: str
    user_type: Literal["user"] = "user"
    email: str


class LoggedOut(BaseModel):
    logged_out: bool = True


@public
def login(body: Login) -> LoginAnswer:
    """Sign in with e-mail and password, and get a CLI token for 12 hours."""
    core = get_core()
    with reading(db.session):
        found = find_user_by_email(db.session, body.email)
    user = check_password(core.passwords, found, Secret(body.password))
    with writing(db.session):
        # The password was checked outside of a transaction: it may have changed, or the user been disabled, meanwhile.
        current = find_user(db.session, user.id, fresh=True)
        if current is None or current.password_hash != user.password_hash or current.disabled_at is not None:
            raise LoginRefused("The account changed while you signed in. Try again.")
        token, secret = issue_token(db.session, core.clock, current)
    return LoginAnswer(
        access_token=secret.reveal(),
        expires_in=int(LIFETIME.total_seconds()),
        expires_at=rfc3339(token.expires_at),
        user=LoginUser(user_id=user.id, email=user.email),
    )


@signed_in
def logout() -> LoggedOut:
    """Revoke the CLI token of this request."""
    principal = current_user()
    with writing(db.session):
        revoke_token(db.session, get_core().clock, principal.actor, principal.token_id)
    return LoggedOut()


@signed_in
def validate() -> Validation:
    """Tell whose CLI token this is."""
    with reading(db.session):
        user = get_user(db.session, current_user().user_id)
    return Validation(valid=True, user_id=user.id, email=user.email)


RESOURCE = Resource(
    "auth",
    [
        Route("POST", "/auth/login", login, LoginAnswer, (HTTPStatus.UNAUTHORIZED,)),
        Route("POST", "/auth/logout", logout, LoggedOut),
        Route("GET", "/auth/validate", validate, Validation),
    ],
)
