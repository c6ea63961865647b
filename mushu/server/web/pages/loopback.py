"""The browser login of the published command-line client: consent, then back to the program on this computer.

The token travels in the query of a redirect, because that client wants it so; therefore only to loopback addresses, and
only after the user agreed on a page that says so. What a stranger wrote as `redirect_uri` is taken apart, and each part
is checked; only what is built anew from the parts reaches a header or a page.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, urlencode

from flask import Blueprint, Response, abort, make_response, redirect, render_template, request
from werkzeug import Response as BaseResponse

from mushu.address import is_loopback_host
from mushu.server.core import db, get_core
from mushu.server.db import writing
from mushu.server.errors import Invalid
from mushu.server.tokens.service import issue_token
from mushu.server.web.guard import in_browser
from mushu.server.web.pages.forms import EmptyForm
from mushu.server.web.problems import error_page
from mushu.server.web.sessions import require_session_user

PAGES = Blueprint("loopback", __name__)

_CLIENT: Final = "a browser login"
_ADDRESS: Final = re.compile(
    r"http://(?:(?P<name>[a-z0-9.]{1,40})|\[(?P<ipv6>[0-9a-f:.]{1,40})\]):(?P<port>[0-9]{1,5})"
    r"(?P<path>(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,99}){0,9}/?)(?:\?(?P<query>[A-Za-z0-9._~=&+%-]{0,999}))?"
)
_HIGHEST_PORT: Final = 65_535
#: What the answer says; a link that says it first would answer in the place of the user.
_ANSWERS: Final = frozenset({"access_token", "refresh_token", "error", "error_description"})


@dataclass(frozen=True, slots=True)
class LoopbackAddress:
    """The address of a program on this computer, in parts that are each harmless wherever an address is written."""

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


@PAGES.get("/auth/apple/authorize")
@in_browser
def ask_consent() -> BaseResponse:
    """Ask whether a program on this computer may sign in as the user."""
    try:
        target = loopback_address(request.args.get("redirect_uri", ""))
    except Invalid as error:
        return make_response(error_page(error, HTTPStatus.BAD_REQUEST))
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


def loopback_address(redirect_uri: str) -> LoopbackAddress:
    """Return the address to go back to.

    Raises:
        Invalid: it does not lead to this very computer, or has more in it than such an address needs.
    """
    found = _ADDRESS.fullmatch(redirect_uri)
    if found is not None:
        host, port, query = found["name"] or found["ipv6"], int(found["port"]), parse_qsl(found["query"] or "", True)
        if is_loopback_host(host) and 0 < port <= _HIGHEST_PORT and _ANSWERS.isdisjoint(name for name, _ in query):
            return LoopbackAddress(_in_address(host), port, found["path"], tuple(query))
    raise Invalid("The redirect_uri must be http://localhost:PORT/… : a program on this computer.")


def _in_address(host: str) -> str:
    """Return a host of loopback as an address has it, in its one spelling."""
    if host == "localhost":
        return host
    address = ip_address(host)
    return f"[{address}]" if address.version == 6 else str(address)


def _back(target: LoopbackAddress, **answer: str) -> BaseResponse:
    response = redirect(target.answering(**answer), HTTPStatus.SEE_OTHER)
    return _allowing_return(response, target)


def _allowing_return(response: BaseResponse | Response, target: LoopbackAddress) -> BaseResponse:
    """Let the form's answer lead to the program: browsers hold `form-action` against redirects, too."""
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self'; form-action 'self' {target.origin}; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    return response
