"""What a storage of media offers. It knows nothing of rows; the caller has no transaction open.

Bytes arrive in an area of their own (`incoming`), and are settled after they were inspected. So an upload address that
is used again, or late, never touches what is served.
"""

import re
import secrets
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final, Protocol

from mushu.server.errors import Invalid

ORIGINAL: Final = "original"
CHUNK: Final = 256 * 1024


#: What `new_key` makes.
KEY_PATTERN: Final = r"^[0-9a-f]{32}-[A-Za-z0-9._-]{1,60}$"
_UNSAFE_IN_KEY: Final = re.compile(r"[^A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """Names the bytes of one item in the storage: live and test share nothing."""

    environment: str
    key: str


@dataclass(frozen=True, slots=True)
class Upload:
    """What arrived."""

    size: int
    #: What the store was told; None where it asks for none.
    content_type: str | None
    #: Changes with the bytes.
    version: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A real file, at its beginning; the caller closes it."""

    file: BinaryIO
    size: int


@dataclass(frozen=True, slots=True)
class Presentation:
    """How a download is to be answered."""

    content_type: str
    disposition: str


class Storage(Protocol):
    """A folder or a bucket. Every method may raise StorageUnavailable, and leaves nothing behind if it fails."""

    def upload_url(self, object_key: ObjectKey, content_type: str, size: int, seconds: int) -> str | None:
        """Return an address that takes the upload; None where it comes to this server."""

    def receive(self, object_key: ObjectKey, size: int, chunks: Iterator[bytes]) -> None:
        """Take an upload that comes to this server.

        Raises:
            Invalid: the upload does not have exactly `size` bytes.
            MediaWrongState: another upload was first.
        """

    def find_upload(self, object_key: ObjectKey) -> Upload | None:
        """Return what arrived and is not settled yet."""

    def open_upload(self, object_key: ObjectKey, upload: Upload, most: int) -> Opened | None:
        """Open what arrived, at least its first `most` bytes; None if it is gone, or is not that any more."""

    def settle(self, object_key: ObjectKey, upload: Upload) -> bool:
        """Make what arrived the original; False if it is gone, or is not that any more."""

    def open(self, object_key: ObjectKey, name: str = ORIGINAL) -> Opened | None:
        """Open the original or a variant; None if it is not there."""

    def has(self, object_key: ObjectKey) -> bool:
        """Tell whether the original is there."""

    def write(self, object_key: ObjectKey, name: str, content: BinaryIO) -> None:
        """Store a variant, whole or not at all."""

    def download_url(self, object_key: ObjectKey, presentation: Presentation, seconds: int) -> str | None:
        """Return an address at which the store serves the original itself; None where this server does."""

    def remove(self, object_key: ObjectKey) -> None:
        """Remove all there is: what arrived, the original, its variants. It may be nothing."""

    def sweep(self, environment: str, before: datetime) -> int:
        """Remove what arrived before then and was never settled; return how much there was."""

    def check(self) -> str:
        """Check that it can be used, and return where it is."""


def new_key(filename: str) -> str:
    """Return a key of 128 random bits and the safe part of the name, by which a person recognizes it.

    A key is one part of a path and of an address: neither the name nor the organization could lead it elsewhere, and
    only who was given a key knows it.
    """
    plain = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode()
    safe = _UNSAFE_IN_KEY.sub("-", plain.rpartition(".")[0] or plain).strip("-")[:48] or "file"
    ending = _UNSAFE_IN_KEY.sub("", plain.rpartition(".")[2])[:10] if "." in plain else ""
    return f"{secrets.token_hex(16)}-{safe}" + (f".{ending.lower()}" if ending else "")


def exactly(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Pass the chunks on, as long as they have the announced size.

    Raises:
        Invalid: there are more bytes, or fewer.
    """
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if received > size:
            break
        yield chunk
    if received != size:
        came = "more" if received > size else f"{received}"
        raise Invalid(f"{size} bytes were announced, and {came} came. Nothing was kept.", field="size_bytes")
