"""From the headers of a request to the one credential that they carry, checked in form only.

`Authorization` may be a proxy's own, such as `Basic …`. Beside a credential of ours, a scheme that is not ours is
passed over, unless something of ours stands under it: of two credentials of ours, none is chosen. The server and
`mushu.guard` share these rules. Standard library only.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from mushu import keyformat
from mushu.keyformat import CREDENTIAL_PATTERN, KEY_PREFIXES, Prefix
from mushu.secret import Secret

_KEY: Final = "Send an API key as `Authorization: ApiKey msk_…`, `Authorization: Bearer msk_…` or `X-API-Key: msk_…`"
_HOW_KEYS: Final = f"{_KEY}."
_HOW: Final = f"{_KEY}, or a CLI token as `Authorization: Bearer mct_…`."
_HOW_A_KEY: Final = "An API key is msk_live_ or msk_test_ and 28 letters and digits."
_KEYS: Final = frozenset(KEY_PREFIXES.values())
_TOKENS: Final = frozenset({Prefix.CLI_TOKEN})
#: What each of our schemes takes. Many clients can send an API key under `Bearer` only.
_SCHEMES: Final = {"apikey": _KEYS, "bearer": _KEYS | _TOKENS}
#: A scheme and what follows it (RFC 9110, section 11.4).
_FOREIGN: Final = re.compile(r"(?P<scheme>[!#$%&'*+.^_`|~0-9A-Za-z-]+)(?: .*)?")
#: What may stand around a header's value (RFC 9110, section 5.6.3); `str.strip` alone would take more away.
_SPACE: Final = " \t"


class CredentialFault(ValueError):
    """A request carries no credential that can be looked up; the message says what to do."""

    code: ClassVar[str]
    title: ClassVar[str]


class NoCredential(CredentialFault):
    code = "missing_credential"
    title = "No credential was sent"


class WrongShape(CredentialFault):
    code = "malformed_credential"
    title = "The credential has the wrong form"


class Mistyped(CredentialFault):
    code = "mistyped_credential"
    title = "The credential is mistyped or cut short"


class TwoCredentials(CredentialFault):
    code = "ambiguous_credential"
    title = "Two different credentials were sent"


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential of the right form, which may be unknown here."""

    secret: Secret
    is_key: bool


def read_headers(authorization: str | None, x_api_key: str | None, *, only_keys: bool = False) -> Credential:
    """Return the one credential that the request carries.

    Args:
        authorization: the value of the Authorization header, or None.
        x_api_key: the value of the X-API-Key header, or None.
        only_keys: whether no CLI token passes.

    Raises:
        NoCredential, WrongShape, Mistyped, TwoCredentials: there is not exactly one.
    """
    given, how = [], _HOW_KEYS if only_keys else _HOW
    if authorization is not None and not (x_api_key is not None and is_foreign(authorization)):
        given.append(_from_authorization(authorization, how, _KEYS if only_keys else _KEYS | _TOKENS))
    if x_api_key is not None:
        given.append(_checked(x_api_key.strip(_SPACE), _KEYS, how))
    if not given:
        raise NoCredential(f"This request carries no credential. {how}")
    if len(given) == 2 and given[0].secret != given[1].secret:
        raise TwoCredentials("The Authorization and X-API-Key headers carry different credentials. Send one.")
    return given[0]


def read_token(text: str) -> Credential:
    """Return the CLI token that was sent in a body.

    Raises:
        WrongShape, Mistyped: it is not one.
    """
    return _checked(text, _TOKENS, _HOW)


def read_key(text: str) -> Credential:
    """Return the API key that somebody asks about.

    Raises:
        WrongShape, Mistyped: it is not one.
    """
    return _checked(text.strip(_SPACE), _KEYS, _HOW_A_KEY)


def is_foreign(authorization: str) -> bool:
    """Tell whether the header has a scheme that is not ours, and nothing of ours under it."""
    found = _FOREIGN.fullmatch(authorization.strip(_SPACE))
    if found is None or found["scheme"].lower() in _SCHEMES:
        return False
    return CREDENTIAL_PATTERN.search(authorization) is None


def _from_authorization(value: str, how: str, accepted: frozenset[Prefix]) -> Credential:
    scheme, _, text = value.strip(_SPACE).partition(" ")
    expected = _SCHEMES.get(scheme.lower())
    if expected is None:
        raise WrongShape(f"The Authorization header uses a scheme that is not known here. {how}")
    return _checked(text.strip(_SPACE), expected & accepted, how)


def _checked(text: str, expected: frozenset[Prefix], how: str) -> Credential:
    """Return the credential that a text is; `how` says how to send one that passes."""
    try:
        prefix = keyformat.parse(text)
    except keyformat.WrongChecksum:
        raise Mistyped(
            "The checksum of this credential does not fit: it is mistyped, or a part of it is missing. Copy it again."
        ) from None
    except keyformat.WrongFormat:
        raise WrongShape(f"This is not a credential of this server. {how}") from None
    if prefix not in expected:
        wrong = "was sent under the wrong scheme" if how is _HOW else "is a CLI token, and only API keys pass"
        raise WrongShape(f"This credential {wrong}. {how}")
    return Credential(Secret(text), is_key=prefix in _KEYS)
