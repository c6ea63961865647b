"""The device flow over HTTP: form-encoded, with the errors of RFC 8628, as its clients expect."""

from http import HTTPStatus
from typing import Literal

from flask import jsonify, make_response, url_for
from pydantic import BaseModel, Field
from werkzeug import Response

from mushu.secret import Secret
from mushu.server.core import db, get_core
from mushu.server.db import writing
from mushu.server.errors import MalformedBody
from mushu.server.tokens import device_flow
from mushu.server.tokens.device_flow import DeviceError, Granted
from mushu.server.web.api.models import LoginAnswer, login_answer
from mushu.server.web.guard import public
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
