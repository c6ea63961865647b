"""Media in a folder of this machine.

    live/incoming/KEY                  arrived, not inspected yet; KEY.….part while it arrives
    live/kept/KE/KEY/original          and beside it the variants; KE are the first two letters of the key
    test/…                             the same

Folders are 0700 and files 0600. Every path is walked from the top without following a link, and a file is opened
only if it is one: a link that somebody planted is neither read nor written.
"""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from mushu.server.errors import Invalid, MediaWrongState, StorageUnavailable
from mushu.server.resources.media.storage import CHUNK, ORIGINAL, ObjectKey, Opened, Presentation, Upload

#: Entered where a file that is not there is an answer, too.
_absent: Final = suppress(FileNotFoundError)
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: A pipe that somebody planted must not block.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Bytes that are left for the database and for other programs.
RESERVE: Final = 256 * 1024 * 1024


class FolderStorage:
    """Keeps media below `root`, which may itself be a link."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def upload_url(self, object_key: ObjectKey, content_type: str, size: int, seconds: int) -> str | None:  # noqa: ARG002
        return None

    def download_url(self, object_key: ObjectKey, presentation: Presentation, seconds: int) -> str | None:  # noqa: ARG002
        return None

    def receive(self, object_key: ObjectKey, size: int, chunks: Iterator[bytes]) -> None:
        with self._incoming(object_key.environment) as incoming:
            self._require_room(size)
            with _part(incoming, object_key.key, _exactly(chunks, size)) as part:
                try:  # a link is made only where nothing is yet: of two uploads at once, one wins
                    os.link(part, object_key.key, src_dir_fd=incoming, dst_dir_fd=incoming, follow_symlinks=False)
                except FileExistsError:
                    raise MediaWrongState("This was uploaded already. Confirm it.") from None
            os.fsync(incoming)

    def find_upload(self, object_key: ObjectKey) -> Upload | None:
        with self._incoming(object_key.environment) as incoming, _absent:
            found = os.stat(object_key.key, dir_fd=incoming, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                return Upload(found.st_size, None, f"{found.st_ino}-{found.st_mtime_ns}")
        return None

    def open_upload(self, object_key: ObjectKey, upload: Upload, most: int) -> Opened | None:  # noqa: ARG002
        with self._incoming(object_key.environment) as incoming, _absent:
            return _open(object_key.key, incoming)
        return None

    def settle(self, object_key: ObjectKey, upload: Upload) -> bool:  # noqa: ARG002
        with (
            self._incoming(object_key.environment) as incoming,
            self._folder(*_kept(object_key), make=True) as kept,
            _absent,
        ):
            os.rename(object_key.key, ORIGINAL, src_dir_fd=incoming, dst_dir_fd=kept)
            os.fsync(kept)
            os.fsync(incoming)
            return True
        return False

    def open(self, object_key: ObjectKey, name: str = ORIGINAL) -> Opened | None:
        with _absent, self._folder(*_kept(object_key)) as kept:
            return _open(name, kept)
        return None

    def has(self, object_key: ObjectKey) -> bool:
        opened = self.open(object_key)
        if opened is not None:
            opened.file.close()
        return opened is not None

    def write(self, object_key: ObjectKey, name: str, content: BinaryIO) -> None:
        # The folder of an item that was deleted meanwhile is gone, and is not made again.
        with (
            _absent,
            self._folder(*_kept(object_key)) as kept,
            self._incoming(object_key.environment) as incoming,
        ):
            chunks = iter(lambda: content.read(CHUNK), b"")
            with _part(incoming, object_key.key, chunks) as part:
                os.replace(part, name, src_dir_fd=incoming, dst_dir_fd=kept)

    def remove(self, object_key: ObjectKey) -> None:
        with self._incoming(object_key.environment) as incoming, _absent:
            os.unlink(object_key.key, dir_fd=incoming)
        *above, own = _kept(object_key)
        with _absent, self._folder(*above) as shard:
            with self._folder(*above, own) as kept:
                for name in os.listdir(kept):  # noqa: PTH208 - by its descriptor
                    os.unlink(name, dir_fd=kept)
            os.rmdir(own, dir_fd=shard)
            os.fsync(shard)

    def sweep(self, environment: str, before: datetime) -> int:
        swept = 0
        with self._incoming(environment) as incoming:
            for name in os.listdir(incoming):  # noqa: PTH208
                with _absent:
                    if os.stat(name, dir_fd=incoming, follow_symlinks=False).st_mtime < before.timestamp():
                        os.unlink(name, dir_fd=incoming)
                        swept += 1
        return swept

    def check(self) -> str:
        there = next(path for path in (self._root, *self._root.parents) if path.exists())  # it is made when needed
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise StorageUnavailable(f"{self._root}, where media are kept, cannot be written. Mend {there}.")
        return f"in the folder {self._root}"

    def _incoming(self, environment: str) -> AbstractContextManager[int]:
        return self._folder(environment, "incoming", make=True)

    def _folder(self, *names: str, make: bool = False) -> AbstractContextManager[int]:
        return _walk(self._root, names, make=make)

    def _require_room(self, size: int) -> None:
        if shutil.disk_usage(self._root).free < size + RESERVE:
            raise StorageUnavailable("There is no room for this file. Tell the operator.")


def _kept(object_key: ObjectKey) -> tuple[str, ...]:
    return object_key.environment, "kept", object_key.key[:2], object_key.key


@contextmanager
def _walk(root: Path, names: tuple[str, ...], *, make: bool) -> Iterator[int]:
    """Open a folder below `root`, one step after another, following no link.

    Raises:
        FileNotFoundError: it is not there, or what the caller does in it found nothing.
        StorageUnavailable: whatever else the file system says, there or in what the caller does in it.
    """
    try:
        if make:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(root, _FOLDER)
        try:
            for name in names:
                if make:
                    _make(name, folder)
                inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
                os.close(folder)
                folder = inner
            yield folder
        finally:
            os.close(folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageUnavailable(
            f"The folder of media cannot be used ({error.strerror}). Try again shortly."
        ) from error


def _make(name: str, above: int) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=above)
        os.fsync(above)


@contextmanager
def _part(folder: int, key: str, chunks: Iterator[bytes]) -> Iterator[str]:
    """Provide a file with these bytes, on disk; its name is gone afterwards, whatever happens."""
    name = f"{key}.{secrets.token_hex(8)}.part"
    descriptor = os.open(name, _NEW, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        yield name
    finally:
        with _absent:
            os.unlink(name, dir_fd=folder)


def _open(name: str, folder: int) -> Opened | None:
    try:
        descriptor = os.open(name, _READ, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
            return None
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        return None
    return Opened(os.fdopen(descriptor, "rb"), found.st_size)


def _exactly(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
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
