"""What a storage of media offers. It knows nothing of rows; the caller has no transaction open.

Bytes arrive in an area of their own (`incoming`), and are settled after they were inspected. So an upload address that
is used again, or late, never touches what is served.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final, Protocol

ORIGINAL: Final = "original"
CHUNK: Final = 256 * 1024


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
