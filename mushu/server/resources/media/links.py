"""Signed addresses: the holder of one may do the one thing that it was signed for, until it expires, and nothing else.

An address names the user or the API key that asked for it, its issuer. It ends with what the issuer may do, which
`still_may` in `gate/access.py` tells.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from mushu.server.errors import LinkNotValid
from mushu.server.resources.media.models import MediaItem

LIFE: Final = timedelta(hours=1)
EXPIRES_PATTERN: Final = r"^[1-9][0-9]{9,10}$"
#: The id of a user or of an API key.
ISSUER_PATTERN: Final = r"^(usr|key)_[a-z2-7]{12}$"
SIGNATURE_PATTERN: Final = r"^[0-9a-f]{64}$"


class Purpose(StrEnum):
    """What a link is for; each is signed with a key of its own."""

    UPLOAD = "upload"
    DOWNLOAD = "download"


@dataclass(frozen=True, slots=True)
class SignedLink:
    """The parameters of a signed address."""

    issuer_id: str
    expires: str
    signature: str


class Signer:
    """Signs and checks; the secret is that of the instance."""

    def __init__(self, secret: str) -> None:
        self._keys = {
            purpose: hmac.digest(secret.encode(), f"mushu media {purpose}".encode(), hashlib.sha256)
            for purpose in Purpose
        }

    def __repr__(self) -> str:
        return "Signer()"

    def sign(self, purpose: Purpose, item: MediaItem, issuer_id: str, ends_at: datetime) -> tuple[str, str]:
        """Return the end, in seconds since 1970, and the signature, as they stand in the address."""
        expires = str(int(ends_at.timestamp()))
        return expires, self._signature(purpose, item, issuer_id, expires)

    def verify(self, purpose: Purpose, item: MediaItem | None, link: SignedLink, now: datetime) -> None:
        """Do nothing for a good link; whether its issuer still may is not asked here.

        Raises:
            LinkNotValid: it was not signed here, or for something else, or it has expired; or there is no such item.
        """
        expected = self._signature(purpose, item, link.issuer_id, link.expires) if item is not None else ""
        if not hmac.compare_digest(expected.encode(), link.signature.encode()):
            raise LinkNotValid("This link was not signed by this server for what is asked. Ask for a new one.")
        if int(link.expires) <= now.timestamp():
            raise LinkNotValid("This link has expired. Ask for a new one.")

    def _signature(self, purpose: Purpose, item: MediaItem, issuer_id: str, expires: str) -> str:
        bound = (item.environment, item.id, item.key, str(item.size_bytes), item.content_type, issuer_id, expires)
        return hmac.new(self._keys[purpose], "\n".join(bound).encode(), hashlib.sha256).hexdigest()
