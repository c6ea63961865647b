"""Signed addresses: whoever holds one may do the one thing it was signed for, until it ends, and nothing else."""

import hashlib
import hmac
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from mushu.server.errors import LinkNotValid
from mushu.server.media.models import MediaItem

LIFE: Final = timedelta(hours=1)
EXPIRES_PATTERN: Final = r"^[1-9][0-9]{9,10}$"
SIGNATURE_PATTERN: Final = r"^[0-9a-f]{64}$"


class Purpose(StrEnum):
    """What a link is for; each is signed with a key of its own."""

    UPLOAD = "upload"
    DOWNLOAD = "download"


class Signer:
    """Signs and checks; the secret is that of the instance."""

    def __init__(self, secret: str) -> None:
        self._keys = {
            purpose: hmac.digest(secret.encode(), f"mushu media {purpose}".encode(), hashlib.sha256)
            for purpose in Purpose
        }

    def __repr__(self) -> str:
        return "Signer()"

    def sign(self, purpose: Purpose, item: MediaItem, ends_at: datetime) -> tuple[str, str]:
        """Return the end, in seconds since 1970, and the signature, as they stand in the address."""
        expires = str(int(ends_at.timestamp()))
        return expires, self._signature(purpose, item, expires)

    def verify(self, purpose: Purpose, item: MediaItem | None, expires: str, signature: str, now: datetime) -> None:
        """Do nothing for a good link.

        Raises:
            LinkNotValid: it was not signed here, or for something else, or its time is over; of an item that is not
                there nobody can know.
        """
        expected = self._signature(purpose, item, expires) if item is not None else ""
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise LinkNotValid("This link was not signed by this server for what is asked. Ask for a new one.")
        if int(expires) <= now.timestamp():
            raise LinkNotValid("The time of this link is over. Ask for a new one.")

    def _signature(self, purpose: Purpose, item: MediaItem, expires: str) -> str:
        bound = (item.environment, item.id, item.key, str(item.size_bytes), item.content_type, expires)
        return hmac.new(self._keys[purpose], "\n".join(bound).encode(), hashlib.sha256).hexdigest()
