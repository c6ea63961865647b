"""The one credential of a request, and its faults as errors of the tree; the rules are in `mushu.credential`."""

from typing import Final

from mushu import credential
from mushu.credential import Credential, CredentialFault, is_foreign
from mushu.server.errors import (
    AmbiguousCredential,
    MalformedCredential,
    MissingCredential,
    MistypedCredential,
    MushuError,
)

__all__ = ["Credential", "is_foreign", "read_headers", "read_token"]

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
    try:
        return credential.read_headers(authorization, x_api_key)
    except CredentialFault as fault:
        error = _ERRORS[fault.code](str(fault))
    raise error


def read_key(sent: str | None) -> Credential:
    """Return an API key that was sent as such. Raises what `read_headers` does."""
    return read_headers(None, sent)


def read_token(text: str) -> Credential:
    """Return the CLI token that was sent in a body.

    Raises:
        MalformedCredential, MistypedCredential: it is not one.
    """
    try:
        return credential.read_token(text)
    except CredentialFault as fault:
        error = _ERRORS[fault.code](str(fault))
    raise error
