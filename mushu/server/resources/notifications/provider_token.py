"""The signed token that tells Apple who sends: a JSON Web Token with ES256, kept in memory only.

Apple refuses one that is older than an hour (`ExpiredProviderToken`), and who makes new ones more often than every 20
minutes (`TooManyProviderTokenUpdates`). So a token counts from the last full half hour, and is signed without
randomness (RFC 6979): every worker and every restart makes the very same one, and Apple sees one token at a time.
"""

import base64
import json
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from mushu.server.clock import Clock
from mushu.server.resources.tenants.credentials import ApnsCredentials, load_key

#: Seconds that a token is used.
LIFETIME: Final = 30 * 60
#: Seconds between two that Apple made necessary by refusing.
_BETWEEN_RENEWALS: Final = 20 * 60
#: Tokens remembered at most; making one again costs a fraction of a millisecond.
_MOST: Final = 256
_NUMBER_BYTES: Final = 32


@dataclass(frozen=True, slots=True, repr=False)
class _Token:
    text: str
    issued_at: int
    #: Whether it was made because Apple had refused the one before.
    renewal: bool = False


class ProviderTokens:
    """Makes tokens and remembers them. Not for use by several threads at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[str, str, str], _Token] = OrderedDict()

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

    def _made(self, credentials: ApnsCredentials, issued_at: int, *, renewal: bool = False) -> _Token:
        token = _Token(_signed(credentials, issued_at), issued_at, renewal)
        self._known[_name(credentials)] = token
        self._known.move_to_end(_name(credentials))
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return token


def _name(credentials: ApnsCredentials) -> tuple[str, str, str]:
    return credentials.team_id, credentials.key_id, credentials.private_key.digest()


def _signed(credentials: ApnsCredentials, issued_at: int) -> str:
    # Loaded here: whoever signs nothing does not pay for it.
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
