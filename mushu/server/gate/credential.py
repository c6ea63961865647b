"""From the headers of a request to the one credential that they carry, checked in form only."""

from dataclasses import dataclass
from typing import Final

from mushu import keyformat
from mushu.keyformat import KEY_PREFIXES, Prefix
from mushu.secret import Secret
from mushu.server.errors import AmbiguousCredential, MalformedCredential, MissingCredential, MistypedCredential

_HOW: Final = (
    "Send an API key as `Authorization: ApiKey msk_…` or `X-API-Key: msk_…`, or a CLI token as "
    "`Authorization: Bearer mct_…`."
)
_KEYS: Final = frozenset(KEY_PREFIXES.values())
_TOKENS: Final = frozenset({Prefix.CLI_TOKEN})
#: What may stand around a header's value (RFC 9110, section 5.6.3); `str.strip` alone would take more away.
_SPACE: Final = " \t"


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential of the right form, which may be unknown here."""

    secret: Secret
    is_key: bool


def read_headers(authorization: str | None, x_api_key: str | None) -> Credential:
    """Return the one credential that the request carries.

    Args:
        authorization: the value of the Authorization header, or None.
        x_api_key: the value of the X-API-Key header, or None.

    Raises:
        MissingCredential: neither header.
        MalformedCredential: another scheme, another form, or the credential of the other scheme.
        MistypedCredential: the checksum does not fit.
        AmbiguousCredential: two different credentials.
    """
    given = []
    if authorization is not None:
        given.append(_from_authorization(authorization))
    if x_api_key is not None:
        given.append(_checked(x_api_key.strip(_SPACE), _KEYS))
    if not given:
        raise MissingCredential(f"This request carries no credential. {_HOW}")
    if len(given) == 2 and given[0].secret != given[1].secret:
        raise AmbiguousCredential("The Authorization and X-API-Key headers carry different credentials. Send one.")
    return given[0]


def read_token(text: str) -> Credential:
    """Return the CLI token that was sent in a body.

    Raises:
        MalformedCredential, MistypedCredential: it is not one.
    """
    return _checked(text, _TOKENS)


def _from_authorization(value: str) -> Credential:
    scheme, _, text = value.strip(_SPACE).partition(" ")
    match scheme.lower():
        case "apikey":
            return _checked(text.strip(_SPACE), _KEYS)
        case "bearer":
            return _checked(text.strip(_SPACE), _TOKENS)
        case _:
            raise MalformedCredential(f"The Authorization header uses a scheme that is not known here. {_HOW}")


def _checked(text: str, expected: frozenset[Prefix]) -> Credential:
    try:
        prefix = keyformat.parse(text)
    except keyformat.WrongChecksum:
        raise MistypedCredential(
            "The checksum of this credential does not fit: it is mistyped, or a part of it is missing. Copy it again."
        ) from None
    except keyformat.WrongFormat:
        raise MalformedCredential(f"This is not a credential of this server. {_HOW}") from None
    if prefix not in expected:
        raise MalformedCredential(f"This credential was sent under the wrong scheme. {_HOW}")
    return Credential(Secret(text), is_key=prefix in _KEYS)
