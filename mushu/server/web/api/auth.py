"""Authentication: signing in by password and by the device flow, signing out, and a user's own CLI tokens.

The device flow is form-encoded, and its errors are those of RFC 8628, as its clients expect.
"""

from http import HTTPStatus
from typing import Annotated, Literal

from flask import jsonify, make_response, url_for
from pydantic import BaseModel, ConfigDict, Field
from werkzeug import Response

from mushu.secret import Secret
from mushu.server import answers
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.errors import DeletedCredential, MalformedBody
from mushu.server.tokens import device_flow
from mushu.server.tokens.device_flow import DeviceError, Granted
from mushu.server.tokens.models import CliToken
from mushu.server.tokens.service import issue_token, list_tokens, revoke_token, revoke_token_of
from mushu.server.users.known_clients import SignInSource
from mushu.server.users.login import LoginAttempt, sign_in
from mushu.server.users.models import User
from mushu.server.users.passwords import MAX_LENGTH
from mushu.server.users.service import get_user
from mushu.server.web.api.models import Body, Deleted, ListWindow, LoginAnswer, LoginUser, Text, login_answer
from mushu.server.web.guard import current_user, public, signed_in, takes_token_in_body
from mushu.server.web.proxy_headers import current_address
from mushu.server.web.routes import Resource, Route
from mushu.terminal import is_readable

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"

_SENTENCES = {
    DeviceError.AUTHORIZATION_PENDING: "Nobody has decided yet. Ask again after the interval.",
    DeviceError.SLOW_DOWN: "That was too soon. Wait five seconds longer from now on.",
    DeviceError.EXPIRED_TOKEN: "The code is over. Start again.",
    DeviceError.ACCESS_DENIED: "The user denied it, or their account changed since. Start again.",
    DeviceError.INVALID_GRANT: "The device code is not known, or was used already. Start again.",
}


class LoginBody(Body):
    model_config = ConfigDict(title="Login")

    email: Text
    password: Annotated[str, Field(max_length=MAX_LENGTH)]


class Validation(BaseModel):
    valid: bool
    user_id: str
    user_type: Literal["user"] = "user"
    email: str


class LoggedOut(BaseModel):
    logged_out: bool = True


class CliTokenPath(BaseModel):
    token_id: str


class Token(BaseModel):
    token_id: str
    client_name: str | None
    issued_at: str
    expires_at: str
    current: bool


class TokenList(BaseModel):
    tokens: list[Token]
    next_cursor: str | None


class TokenPair(BaseModel):
    access_token: str
    refresh_token: str


class Refreshed(LoginAnswer):
    tokens: TokenPair
    user: LoginUser


class Me(BaseModel):
    user_id: str
    user_type: str
    email: str
    email_verified: bool
    name: str | None
    created_at: str


class DeviceRequest(BaseModel):
    client_id: str = Field(default="", max_length=100)
    client_name: str = Field(default="", max_length=100)


class DeviceCode(BaseModel):
    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


class TokenRequest(BaseModel):
    grant_type: str = ""
    device_code: str = Field(default="", max_length=200)
    client_id: str = Field(default="", max_length=100)


class OAuthError(BaseModel):
    """An error as in RFC 6749, section 5.2."""

    error: Literal[
        "authorization_pending",
        "slow_down",
        "expired_token",
        "access_denied",
        "invalid_grant",
        "invalid_request",
        "unsupported_grant_type",
    ]
    error_description: str


@public
def login(body: LoginBody) -> LoginAnswer:
    """Sign in with e-mail and password, and get a CLI token for 12 hours."""
    core = get_core()
    attempt = LoginAttempt(body.email, Secret(body.password), SignInSource(current_address()))

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


@signed_in
def show_me() -> Me:
    """Tell who is signed in."""
    with reading(db.session):
        user = get_user(db.session, current_user().user_id)
    return Me(**answers.user(user))


@signed_in
def list_my_tokens(query: ListWindow) -> TokenList:
    """List the CLI tokens of the signed-in user that still work, newest first."""
    me = current_user()
    with reading(db.session):
        found = list_tokens(db.session, get_core().clock, me.user_id, query.window)
    tokens = [Token(**answers.token(token), current=token.id == me.token_id) for token in found.rows]
    return TokenList(tokens=tokens, next_cursor=found.next_cursor)


@signed_in
def revoke_my_token(path: CliTokenPath) -> Deleted:
    """Revoke one of the signed-in user's CLI tokens; the very next request with it is refused."""
    me = current_user()
    with writing(db.session):
        revoke_token_of(db.session, get_core().clock, me.actor, me.user_id, path.token_id)
    return Deleted()


@signed_in
@takes_token_in_body
def refresh() -> Refreshed:
    """Swap a CLI token that is still good, of this request or of its body, for a new one; the old one ends."""
    me, clock = current_user(), get_core().clock
    with writing(db.session):
        # Of two at the same moment, one finds it revoked.
        if not revoke_token(db.session, clock, me.actor, me.token_id):
            raise DeletedCredential("This CLI token was swapped already.")
        user, old = get_user(db.session, me.user_id), db.session.get_one(CliToken, me.token_id)
        token, secret = issue_token(db.session, clock, user, old.client_name)
    return _refreshed(login_answer(token, secret, user), secret)


def _refreshed(answer: LoginAnswer, secret: Secret) -> Refreshed:
    pair = TokenPair(access_token=secret.reveal(), refresh_token=secret.reveal())
    return Refreshed(**answer.model_dump(), tokens=pair)


@public
def start_device_flow(form: DeviceRequest) -> DeviceCode:
    """Start the device flow: show the user code, and ask `/auth/token` until the user has decided."""
    core, name = get_core(), "".join(letter for letter in form.client_name if is_readable(letter)).strip()
    with writing(db.session):
        authorization, secret = device_flow.start(db.session, core.clock, current_address(), name or None)
    user_code = f"{authorization.user_code[:4]}-{authorization.user_code[4:]}"
    page = core.settings.base_url + url_for("consent.ask_code")
    return DeviceCode(
        device_code=secret.reveal(),
        user_code=user_code,
        verification_uri=page,
        verification_uri_complete=f"{page}?user_code={user_code}",
        expires_in=int(device_flow.LIFETIME.total_seconds()),
        interval=authorization.interval,
    )


@public
def give_token(form: TokenRequest) -> LoginAnswer | Response:
    """Swap an approved device code for a CLI token, once."""
    if form.grant_type != GRANT_TYPE:
        return _error("unsupported_grant_type", f"The only grant_type here is {GRANT_TYPE}.")
    if not form.device_code:
        return _error("invalid_request", "The device_code is missing.")
    with writing(db.session):
        outcome = device_flow.ask(db.session, get_core().clock, Secret(form.device_code))
    if isinstance(outcome, Granted):
        return login_answer(outcome.token, outcome.secret, outcome.user)
    return _error(outcome, _SENTENCES[outcome])


def _malformed(error: MalformedBody) -> Response:
    """Answer a malformed form as RFC 6749 says, to which RFC 8628 refers for both endpoints."""
    return _error("invalid_request", error.detail)


def _error(error: str, sentence: str) -> Response:
    return make_response(jsonify(error=error, error_description=sentence), HTTPStatus.BAD_REQUEST)


RESOURCE = Resource(
    "auth",
    [
        Route("POST", "/auth/login", login, LoginAnswer, (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS)),
        Route("POST", "/auth/logout", logout, LoggedOut),
        Route("GET", "/auth/validate", validate, Validation),
    ],
)
DEVICE_FLOW = Resource(
    "device flow",
    [
        Route(
            "POST",
            "/auth/device/code",
            start_device_flow,
            DeviceCode,
            (HTTPStatus.TOO_MANY_REQUESTS,),
            answers={HTTPStatus.BAD_REQUEST: OAuthError},
        ),
        Route("POST", "/auth/token", give_token, LoginAnswer, answers={HTTPStatus.BAD_REQUEST: OAuthError}),
    ],
    own_errors={MalformedBody: _malformed},
)
TOKENS = Resource(
    "tokens",
    [
        Route("GET", "/auth/tokens", list_my_tokens, TokenList),
        Route("DELETE", "/auth/tokens/<token_id>", revoke_my_token, Deleted),
        Route("POST", "/auth/refresh", refresh, Refreshed),
    ],
)
USERS = Resource("users", [Route("GET", "/users/me", show_me, Me)])
