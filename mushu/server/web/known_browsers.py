"""The cookie by which a browser is known in which somebody signed in before (`users/known_clients.py`).

It opens nothing: it gives a few tries that no stranger can use up. It is random, kept as a digest, and good for the one
user who signed in with it.
"""

from typing import Final

from flask import after_this_request, request
from werkzeug import Response

from mushu.secret import Secret
from mushu.server.core import db, get_core
from mushu.server.users.known_clients import LIFETIME, SignInSource, remember_browser
from mushu.server.users.models import User
from mushu.server.web.client_address import current_address

#: What `remember_browser` gives has 43 letters.
_LONGEST: Final = 64


def current_source() -> SignInSource:
    """Return where an attempt to sign in on this page comes from."""
    return SignInSource(current_address(), _presented())


def remember_this_browser(user: User) -> None:
    """Know this browser from now on; called in the transaction that proved who the user is."""
    held = remember_browser(db.session, get_core().clock, user, _presented())

    @after_this_request
    def set_cookie(response: Response) -> Response:
        encrypted = _is_encrypted()
        # As with the cookie of the session, a browser takes this one only for this host, and all of it.
        response.set_cookie(
            _name(), held.reveal(), max_age=LIFETIME, secure=encrypted, httponly=True, samesite="Strict"
        )
        return response


def _presented() -> Secret | None:
    held = request.cookies.get(_name(), "")
    return Secret(held) if 0 < len(held) <= _LONGEST else None


def _name() -> str:
    return "__Host-mushu-known" if _is_encrypted() else "mushu-known"


def _is_encrypted() -> bool:
    return get_core().settings.base_url.startswith("https://")
