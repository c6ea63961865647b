"""Apple's credentials for one app: checked before they are stored, and opened only to sign.

What they sign is the provider token, which tells Apple who sends: a JSON Web Token with ES256, kept in memory only.
Apple refuses one that is older than an hour (`ExpiredProviderToken`). It also refuses a server that makes new ones more
often than every 20 minutes (`TooManyProviderTokenUpdates`). So a token counts from the last full half hour, and is
signed without randomness (RFC 6979). Every worker and every restart makes the same one, and Apple sees one at a time.
"""

import base64
import json
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mushu.secret import Secret
from mushu.server.clock import Clock
from mushu.server.errors import Invalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

#: As Apple writes them: capitals and digits, ten of them.
_TEN: Final = re.compile(r"[A-Z0-9]{10}")
_BUNDLE_ID: Final = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_BUNDLE_ID_LENGTH: Final = 155
_PEM_LENGTH: Final = 4_000


@dataclass(frozen=True, slots=True)
class ApnsCredentials:
    """What signs a provider token: the names of the team and of the key, and the key."""

    team_id: str
    key_id: str
    private_key: Secret


def checked_bundle_id(bundle_id: str) -> str:
    """Return the bundle id.

    Raises:
        Invalid: it is not one. It stands in a header of every notification, so nothing else may be in it.
    """
    if len(bundle_id) > _BUNDLE_ID_LENGTH or not _BUNDLE_ID.fullmatch(bundle_id):
        raise Invalid("A bundle id looks like com.example.shop: letters, digits, - and dots.", field="bundle_id")
    return bundle_id


def checked_credentials(team_id: str | None, key_id: str | None, private_key: Secret | None) -> ApnsCredentials | None:
    """Return the credentials, the key in its usual form; None where none are given.

    Raises:
        Invalid: only some of them are given, or one of them is not what Apple gives. The key is never repeated.
    """
    if not team_id and not key_id and (private_key is None or not private_key.reveal()):
        return None
    if not team_id or not key_id or private_key is None or not private_key.reveal():
        raise Invalid(
            "Apple's credentials belong together: team_id, key_id and private_key; or none of them, and notifications "
            "go to the outbox.",
            field="private_key",
        )
    for name, value in (("team_id", team_id), ("key_id", key_id)):
        if not _TEN.fullmatch(value):
            raise Invalid(f"{name} is ten capitals and digits, as Apple's developer pages show it.", field=name)
    return ApnsCredentials(team_id, key_id, _checked_key(private_key))


def load_key(private_key: Secret) -> "EllipticCurvePrivateKey":
    """Return the key that `checked_credentials` let in.

    Raises:
        ValueError: it let in no such key.
    """
    found = _parsed(private_key)
    if found is None:
        raise ValueError("not a P-256 key in PEM")
    return found


def _checked_key(private_key: Secret) -> Secret:
    parsed = _parsed(private_key) if len(private_key.reveal()) <= _PEM_LENGTH else None
    if parsed is None:
        raise Invalid(
            "private_key must be the content of the AuthKey_….p8 file that Apple gave you: a P-256 key in PEM, without "
            "a password.",
            field="private_key",
        )
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return Secret(parsed.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def _parsed(private_key: Secret) -> "EllipticCurvePrivateKey | None":
    # Loaded here, because most processes sign nothing.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found = load_pem_private_key(private_key.reveal().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    is_p256 = isinstance(found, EllipticCurvePrivateKey) and isinstance(found.curve, SECP256R1)
    return found if is_p256 else None  # type: ignore[return-value]


#: Seconds that a token is used.
LIFETIME: Final = 30 * 60
#: Seconds between two that Apple made necessary by refusing.
_BETWEEN_RENEWALS: Final = 20 * 60
#: Tokens remembered at most; making one again costs a fraction of a millisecond.
_MOST_TOKENS: Final = 256
_NUMBER_BYTES: Final = 32


@dataclass(frozen=True, slots=True, repr=False)
class _ProviderToken:
    text: str
    issued_at: int
    #: Whether it was made because Apple had refused the one before.
    renewal: bool = False


class ProviderTokens:
    """Makes tokens and remembers them. Not for use by several threads at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[str, str, str], _ProviderToken] = OrderedDict()

    def current(self, credentials: ApnsCredentials) -> str:
        """Return the token to send with. Other credentials have another one, from the next call on."""
        known, now = self._known.get(_name(credentials)), self._now()
        if known is not None and 0 <= now - known.issued_at < LIFETIME:
            return known.text
        return self._made(credentials, now - now % LIFETIME).text

    def renewed(self, credentials: ApnsCredentials, refused: str) -> str:
        """Return another token than the one that Apple called expired; the same, where a new one would be no help."""
        known, now = self._known.get(_name(credentials)), self._now()
        if known is not None and known.text != refused:
            return known.text  # it was renewed meanwhile, for another notification
        if known is not None and known.renewal and now - known.issued_at < _BETWEEN_RENEWALS:
            return refused
        return self._made(credentials, now, renewal=True).text

    def _now(self) -> int:
        return int(self._clock().timestamp())

    def _made(self, credentials: ApnsCredentials, issued_at: int, *, renewal: bool = False) -> _ProviderToken:
        token = _ProviderToken(_signed(credentials, issued_at), issued_at, renewal)
        self._known[_name(credentials)] = token
        self._known.move_to_end(_name(credentials))
        if len(self._known) > _MOST_TOKENS:
            self._known.popitem(last=False)
        return token


def _name(credentials: ApnsCredentials) -> tuple[str, str, str]:
    return credentials.team_id, credentials.key_id, credentials.private_key.digest()


def _signed(credentials: ApnsCredentials, issued_at: int) -> str:
    # Loaded here, because most processes sign nothing.
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    head = {"alg": "ES256", "kid": credentials.key_id, "typ": "JWT"}
    text = f"{_part(head)}.{_part({'iss': credentials.team_id, 'iat': issued_at})}"
    signature = load_key(credentials.private_key).sign(text.encode(), _algorithm())
    numbers = b"".join(number.to_bytes(_NUMBER_BYTES) for number in decode_dss_signature(signature))
    return f"{text}.{_written(numbers)}"


def _algorithm() -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        return ECDSA(SHA256(), deterministic_signing=True)
    except UnsupportedAlgorithm:  # an OpenSSL before 3.2: then each worker has a token of its own
        return ECDSA(SHA256())


def _part(content: dict[str, Any]) -> str:
    return _written(json.dumps(content, separators=(",", ":")).encode())


def _written(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
