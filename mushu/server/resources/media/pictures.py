"""Pictures in other sizes (`/t/…`), and whether a picture is one.

The work is done by `decoder.py`, in processes of their own. A variant is made when it is first asked for, and kept
beside the original.
"""

import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final, cast

from mushu.server.db import AnySession, reading
from mushu.server.errors import MediaNotFound, StorageUnavailable
from mushu.server.resources.media.content_types import PICTURES, is_picture
from mushu.server.resources.media.decoder import REFUSED
from mushu.server.resources.media.models import MediaItem, Status
from mushu.server.resources.media.service import find_media, find_media_by_key
from mushu.server.resources.media.storage import Opened, Storage

_LOG: Final = logging.getLogger(__name__)
_DECODER: Final = Path(__file__).with_name("decoder.py")
#: Seconds.
_LONGEST: Final = 60
_PATIENCE: Final = 10
#: Those that wait for a turn, each with a thread of the API.
_MOST_WAITING: Final = 6
_TOO_MANY: Final = "Too many pictures are being made at this moment. Try again shortly."
_BROKEN: Final = "The picture cannot be decoded."


class Variant(StrEnum):
    """The sizes in which a picture is served; the original is served unchanged."""

    ORIGINAL = "original"
    THUMBNAIL = "thumbnail"
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


_HOW: Final = {
    Variant.THUMBNAIL: ("cover", "150", "150"),
    Variant.SMALL: ("width", "320"),
    Variant.MEDIUM: ("width", "640"),
    Variant.LARGE: ("width", "1280"),
}


class Pictures:
    """Decodes one picture at a time in this worker, so that pictures cannot take all processors from the API."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._alone = threading.BoundedSemaphore(1)
        self._present = threading.BoundedSemaphore(1 + _MOST_WAITING)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn to decode. After the wait, look first whether another request has made it.

        Raises:
            StorageUnavailable: too many others wait.
        """
        if not self._present.acquire(blocking=False):
            raise StorageUnavailable(_TOO_MANY, retry_after=1)
        try:
            if not self._alone.acquire(timeout=_PATIENCE):
                raise StorageUnavailable(_TOO_MANY, retry_after=1)
            try:
                yield
            finally:
                self._alone.release()
        finally:
            self._present.release()

    def refusal(self, file: BinaryIO, content_type: str) -> str | None:
        """Return why this is no picture of that type, as a sentence; None if it is one. Waits for its turn itself."""
        with self.turn(), tempfile.TemporaryFile() as nowhere:
            return self._decode(file, content_type, ("check",), nowhere)

    def make(self, file: BinaryIO, content_type: str, variant: Variant) -> BinaryIO | None:
        """Return the variant in an unnamed file, which the caller closes; None if it cannot be made."""
        made = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        refused = self._decode(file, content_type, _HOW[variant], made)
        if refused is not None:
            made.close()
            return None
        made.seek(0)
        return cast(BinaryIO, made)

    def _decode(self, file: BinaryIO, content_type: str, how: tuple[str, ...], into: BinaryIO) -> str | None:
        os.lseek(file.fileno(), 0, os.SEEK_SET)  # the child reads where this descriptor stands
        # -I: neither the environment nor the current folder says what it imports.
        command = [sys.executable, "-I", str(_DECODER), PICTURES[content_type], str(self._max_pixels), *how]
        try:
            done = subprocess.run(  # noqa: S603 - every argument is ours
                command,
                stdin=file,
                stdout=into,
                stderr=subprocess.PIPE,
                env={"MALLOC_ARENA_MAX": "2", "LANG": "C.UTF-8"},
                timeout=_LONGEST,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return _BROKEN
        except OSError as error:
            raise StorageUnavailable("Pictures cannot be decoded right now. Try again shortly.") from error
        if done.returncode == REFUSED:
            return done.stderr.decode(errors="replace")[:300]
        if done.returncode != 0:
            _LOG.warning(
                "decoding failed",
                extra={"status": done.returncode, "detail": done.stderr[-500:].decode(errors="replace")},
            )
            return _BROKEN
        return None


def get_picture(session: AnySession, key: str) -> MediaItem:
    """Return the picture that is served under this key.

    Raises:
        MediaNotFound: there is none, or it is not ready; the two cannot be told apart.
    """
    with reading(session):
        item = find_media_by_key(session, key)
    if item is None or item.status != Status.READY or not is_picture(item.content_type):
        raise _no_picture()
    return item


def open_variant(
    session: AnySession, storage: Storage, pictures: Pictures, item: MediaItem, variant: Variant
) -> Opened:
    """Return the picture in this size. The first request makes it, and others wait for that.

    Raises:
        MediaNotFound: it was deleted meanwhile, or cannot be made.
        StorageUnavailable: too many pictures are being made.
    """
    found = storage.open(item.object_key, variant)
    if found is None and variant is not Variant.ORIGINAL:
        with pictures.turn():
            found = storage.open(item.object_key, variant) or _made(session, storage, pictures, item, variant)
    if found is None:
        raise _no_picture()
    return found


def _made(
    session: AnySession, storage: Storage, pictures: Pictures, item: MediaItem, variant: Variant
) -> Opened | None:
    original = storage.open(item.object_key)
    if original is None:
        return None
    with original.file as file:
        made = pictures.make(file, item.content_type, variant)
    if made is None:
        return None
    with made:
        storage.write(item.object_key, variant, made)
    with reading(session):
        gone = find_media(session, item.id) is None
    if gone:
        storage.remove(item.object_key)  # or what was just made would outlive it
        return None
    return storage.open(item.object_key, variant)


def _no_picture() -> MediaNotFound:
    return MediaNotFound("There is no picture at this address.")
