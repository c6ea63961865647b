from http import HTTPStatus
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from mushu.secret import Secret
from mushu.server.clock import rfc3339
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.tokens.models import CliToken
from mushu.server.tokens.service import LIFETIME, issue_token, revoke_token
from mushu.server.users.known_clients import SignInSource
from mushu.server.users.login import Attempt, sign_in
from mushu.server.users.models import User
from mushu.server.users.passwords import MAX_LENGTH
from mushu.server.users.service import get_user
from mushu.server.web.api.models import Body, Text
from mushu.server.web.guard import current_user, public, signed_in, takes_token_in_body
from mushu.server.web.proxy_headers import current_address
from mushu.server.web.routes import Resource, Route


class Login(Body):
    email: Text
    password: Annotated[str, Field(max_length=MAX_LENGTH)]


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
    attempt = Attempt(body.email, Secret(body.password), SignInSource(current_address()))

    def issue(user: User) -> LoginAnswer:
        return login_answer(*issue_token(db.session, core.clock, user), user)

    return sign_in(db.session, core.clock, core.passwords, attempt, issue)


@signed_in
@takes_token_in_body
def logout() -> LoggedOut:
    """Revoke the CLI token of this request, or of its body (`access_token`)."""
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


def login_answer(token: CliToken, secret: Secret, user: User) -> LoginAnswer:
    """Answer a new CLI token, in the one form that all ways of signing in share."""
    return LoginAnswer(
        access_token=secret.reveal(),
        expires_in=int(LIFETIME.total_seconds()),
        expires_at=rfc3339(token.expires_at),
        user=LoginUser(user_id=user.id, email=user.email),
    )


RESOURCE = Resource(
    "auth",
    [
        Route("POST", "/auth/login", login, LoginAnswer, (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS)),
        Route("POST", "/auth/logout", logout, LoggedOut),
        Route("GET", "/auth/validate", validate, Validation),
    ],
)
