"""The browser login of the published command-line client: consent, then back to the program on this computer.

The token travels in the query of a redirect, because that client wants it so; therefore only to loopback addresses, and
only after the user agreed on a page that says so.
"""

from http import HTTPStatus
from urllib.parse import SplitResult, urlencode, urlsplit

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request
from werkzeug import Response as BaseResponse

from mushu.server.core import db, get_core
from mushu.server.db import writing
from mushu.server.errors import Invalid
from mushu.server.tokens.service import issue_token
from mushu.server.web.guard import in_browser
from mushu.server.web.pages.forms import EmptyForm
from mushu.server.web.pages.gone import gone
from mushu.server.web.sessions import require_session_user

PAGES = Blueprint("loopback", __name__)

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CLIENT = "a browser login"


@PAGES.get("/auth/apple/authorize")
@in_browser
def ask_consent() -> BaseResponse:
    """Ask whether a program on this computer may sign in as the user."""
    try:
        target = loopback_address(request.args.get("redirect_uri", ""))
    except Invalid as error:
        return make_response(gone(error, HTTPStatus.BAD_REQUEST))
    page = render_template("consent.html", form=EmptyForm(), target=target, user=require_session_user())
    return _allowing_return(make_response(page), target)


@PAGES.post("/auth/apple/authorize")
@in_browser
def give_consent() -> BaseResponse:
    """Go back to the program, with a token or with a refusal."""
    target = loopback_address(request.args.get("redirect_uri", ""))
    if not EmptyForm().validate():
        abort(HTTPStatus.BAD_REQUEST)
    if request.form.get("decision") != "approve":
        return _back(target, error="access_denied", error_description="The user denied it.")
    with writing(db.session):
        _, secret = issue_token(db.session, get_core().clock, require_session_user(), _CLIENT)
    return _back(target, access_token=secret.reveal(), refresh_token=secret.reveal())


def loopback_address(redirect_uri: str) -> SplitResult:
    """Return the address to go back to.

    Raises:
        Invalid: it does not lead to this very computer.
    """
    try:
        target = urlsplit(redirect_uri)
        good = target.scheme == "http" and target.hostname in _LOOPBACK and target.port is not None
    except ValueError:
        good = False
    if not good or target.username is not None or target.fragment or not redirect_uri.isprintable():
        raise Invalid("The redirect_uri must be http://localhost:PORT/… : a program on this computer.")
    return target


def _back(target: SplitResult, **answer: str) -> BaseResponse:
    query = f"{target.query}&{urlencode(answer)}" if target.query else urlencode(answer)
    response = redirect(target._replace(query=query).geturl(), HTTPStatus.SEE_OTHER)
    return _allowing_return(response, target)


def _allowing_return(response: BaseResponse | Response, target: SplitResult) -> BaseResponse:
    """Let the form's answer lead to the program: browsers hold `form-action` against redirects, too."""
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self'; form-action 'self' http://{target.netloc}; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    return response
