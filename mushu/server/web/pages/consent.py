"""Consent: pages on which a signed-in user lets a program act as them.

The device flow (RFC 8628): the user types the code that a terminal shows, sees who asks, and approves or denies.

The loopback redirect (RFC 8252, section 7.3), for the published command-line client: the browser goes back to a program
on this computer. The token is in the query of the redirect, because that client expects it there. Therefore the
redirect leads only to loopback addresses, and only after the user agreed. The `redirect_uri` is a stranger's text: it
is parsed, each part is checked, and only an address built from the checked parts reaches a header or a page.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, urlencode

from flask import Response, abort, make_response, redirect, render_template, request
from werkzeug import Response as BaseResponse

from mushu.address import is_loopback_host
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.errors import Invalid, UserCodeNotFound
from mushu.server.tokens.device_flow import decide, get_waiting
from mushu.server.tokens.service import issue_token
from mushu.server.web.error_pages import error_page, pages_for_people
from mushu.server.web.guard import in_browser
from mushu.server.web.pages import EmptyForm, UserCodeForm
from mushu.server.web.sessions import require_session_user

PAGES = pages_for_people("consent")

_CLIENT: Final = "a browser login"
_ADDRESS: Final = re.compile(
    r"http://(?:(?P<name>[a-z0-9.]{1,40})|\[(?P<ipv6>[0-9a-f:.]{1,40})\]):(?P<port>[0-9]{1,5})"
    r"(?P<path>(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,99}){0,9}/?)(?:\?(?P<query>[A-Za-z0-9._~=&+%-]{0,999}))?"
)
_HIGHEST_PORT: Final = 65_535
#: Parameters of the answer; a link that has one already would answer instead of the user.
_ANSWERS: Final = frozenset({"access_token", "refresh_token", "error", "error_description"})


@dataclass(frozen=True, slots=True)
class LoopbackAddress:
    """The address of a program on this computer, in checked parts: each is harmless in a header and in a page."""

    #: As in an address, IPv6 in brackets.
    host: str
    port: int
    path: str
    query: tuple[tuple[str, str], ...] = ()

    @property
    def netloc(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.netloc}"

    def answering(self, **answer: str) -> str:
        """Return the whole address with an answer in its query."""
        return f"{self.origin}{self.path}?{urlencode([*self.query, *answer.items()])}"


@PAGES.get("/activate")
@in_browser
def ask_code() -> str:
    """Ask for the code; a code in the link is filled in, and a person must still confirm it."""
    return render_template("device_code.html", form=UserCodeForm(data={"user_code": request.args.get("user_code")}))


@PAGES.post("/activate")
@in_browser
def show_request() -> tuple[str, int]:
    """Show what waits for the code: its name, where it is, since when."""
    form = UserCodeForm()
    if not form.validate():
        return render_template("device_code.html", form=form), HTTPStatus.UNPROCESSABLE_ENTITY
    try:
        with reading(db.session):
            waiting = get_waiting(db.session, get_core().clock, form.user_code.data)
    except UserCodeNotFound as error:
        return render_template("device_code.html", form=form, fault=error.detail), HTTPStatus.NOT_FOUND
    return render_template(
        "device_approve.html", form=form, waiting=waiting, user=require_session_user()
    ), HTTPStatus.OK


@PAGES.post("/activate/decision")
@in_browser
def decide_request() -> tuple[str, int]:
    """Approve or deny."""
    form, approve = UserCodeForm(), request.form.get("decision") == "approve"
    if not form.validate():
        return render_template("device_code.html", form=form), HTTPStatus.UNPROCESSABLE_ENTITY
    try:
        with writing(db.session):
            decide(db.session, get_core().clock, require_session_user(), form.user_code.data, approve=approve)
    except UserCodeNotFound as error:
        return render_template("device_code.html", form=form, fault=error.detail), HTTPStatus.NOT_FOUND
    return render_template("device_decided.html", approved=approve), HTTPStatus.OK


@PAGES.get("/auth/apple/authorize")
@in_browser
def ask_consent() -> BaseResponse:
    """Ask whether a program on this computer may sign in as the user."""
    try:
        target = loopback_address(request.args.get("redirect_uri", ""))
    except Invalid as error:
        return make_response(error_page(error, HTTPStatus.BAD_REQUEST))
    page = render_template("loopback_approve.html", form=EmptyForm(), target=target, user=require_session_user())
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


def loopback_address(redirect_uri: str) -> LoopbackAddress:
    """Return the address to go back to.

    Raises:
        Invalid: it does not lead to this computer, or has more in it than such an address needs.
    """
    found = _ADDRESS.fullmatch(redirect_uri)
    if found is not None:
        host, port, query = found["name"] or found["ipv6"], int(found["port"]), parse_qsl(found["query"] or "", True)
        if is_loopback_host(host) and 0 < port <= _HIGHEST_PORT and _ANSWERS.isdisjoint(name for name, _ in query):
            return LoopbackAddress(_in_address(host), port, found["path"], tuple(query))
    raise Invalid("The redirect_uri must be http://localhost:PORT/… : a program on this computer.")


def _in_address(host: str) -> str:
    """Return a loopback host in the one spelling that an address has."""
    if host == "localhost":
        return host
    address = ip_address(host)
    return f"[{address}]" if address.version == 6 else str(address)


def _back(target: LoopbackAddress, **answer: str) -> BaseResponse:
    response = redirect(target.answering(**answer), HTTPStatus.SEE_OTHER)
    return _allowing_return(response, target)


def _allowing_return(response: BaseResponse | Response, target: LoopbackAddress) -> BaseResponse:
    """Allow the form to lead to the program: browsers apply `form-action` to redirects, too."""
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self'; form-action 'self' {target.origin}; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    return response
