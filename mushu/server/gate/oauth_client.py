"""The credential of an OAuth client: its secret is an API key (RFC 6749, section 2.3.1), its id may be anything."""

import re
from base64 import b64decode
from typing import Final
from urllib.parse import unquote_plus

from mushu.server.errors import AmbiguousCredential
from mushu.server.gate.credential import Credential, read_headers

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
