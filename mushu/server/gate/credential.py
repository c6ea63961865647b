"""The one credential of a request, and its faults as errors of the tree; the rules are in `mushu.credential`.

A client of OAuth sends an API key as its secret (RFC 6749, section 2.3.1), under any id.
"""

import re
from base64 import b64decode
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_plus

from mushu import credential
from mushu.credential import Credential, CredentialFault, is_foreign
from mushu.server.errors import (
    AmbiguousCredential,
    MalformedCredential,
    MissingCredential,
    MistypedCredential,
    MushuError,
)

__all__ = ["Credential", "is_foreign", "read_client", "read_headers", "read_key", "read_token"]

_ERRORS: Final[dict[str, type[MushuError]]] = {
    kind.code: kind for kind in (MissingCredential, MalformedCredential, MistypedCredential, AmbiguousCredential)
}


def read_headers(authorization: str | None, x_api_key: str | None) -> Credential:
    """Return the one credential that the request carries.

    Args:
        authorization: the value of the Authorization header, or None.
        x_api_key: the value of the X-API-Key header, or None.

    Raises:
        MissingCredential, MalformedCredential, MistypedCredential, AmbiguousCredential: there is not exactly one.
    """
    return _read(credential.read_headers, authorization, x_api_key)


def read_key(text: str) -> Credential:
    """Return the API key that somebody asks about.

    Raises:
        MalformedCredential, MistypedCredential: it is not one.
    """
    return _read(credential.read_key, text)


def read_token(text: str) -> Credential:
    """Return the CLI token that was sent in a body.

    Raises:
        MalformedCredential, MistypedCredential: it is not one.
    """
    return _read(credential.read_token, text)


def _read(read: Callable[..., Credential], *sent: str | None) -> Credential:
    """Return what `read` finds, or raise its fault as an error that holds nothing of what was sent."""
    try:
        return read(*sent)
    except CredentialFault as fault:
        error = _ERRORS[fault.code](str(fault))
    raise error


_BASIC: Final = re.compile(r"basic +([!-~]*)", re.IGNORECASE)


def read_client(authorization: str | None, x_api_key: str | None, client_secret: str | None) -> Credential:
    """Return the one credential that a client sends: as its secret, by Basic or in the form, or as others do.

    Args:
        client_secret: that of the form, or None.

    Raises:
        what `read_headers` raises.
    """
    basic = _BASIC.fullmatch((authorization or "").strip(" \t"))
    secrets = [_password(basic[1])] if basic is not None else []
    if client_secret is not None:
        secrets.append(client_secret)
    given = [read_headers(f"Bearer {secret}", None) for secret in secrets]
    if x_api_key is not None or (authorization is not None and basic is None) or not given:
        given.append(read_headers(None if basic is not None else authorization, x_api_key))
    if any(one.secret != given[0].secret for one in given[1:]):
        raise AmbiguousCredential("This request carries different credentials in two places. Send one.")
    return given[0]


def _password(encoded: str) -> str:
    """Return the password of Basic (RFC 7617), which OAuth clients encode as in a form; empty where there is none."""
    try:
        return unquote_plus(b64decode(encoded, validate=True).decode().partition(":")[2])
    except ValueError:
        return ""
