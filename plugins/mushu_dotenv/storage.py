"""How a file is read and replaced: whole, at once, and only if nobody touched it in between."""

import os
import re
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from mushu.destination import DestinationError
from mushu_dotenv.document import Document
from mushu_dotenv.faults import denial, explained, shown
from mushu_dotenv.folder import Folder
from mushu_dotenv.safety import LARGEST, refuse_unreadable, too_large

# Begins like the file it stands in for, so that `.env*` in a .gitignore covers it too.
_TEMPORARY: Final = re.compile(r"\.env\.mushu-[0-9a-f]{16}\.tmp")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A file at one moment."""

    document: Document
    status: os.stat_result

    def is_still(self, other: "Snapshot | None") -> bool:
        """Tell whether `other` is the same file with the same content."""
        return (
            other is not None
            and (self.status.st_dev, self.status.st_ino) == (other.status.st_dev, other.status.st_ino)
            and self.document.data == other.document.data
        )


def snapshot(folder: Folder, name: str, path: str) -> Snapshot | None:
    """Return what the file `name` is now, or None if there is none; never waits for a pipe or a device.

    Raises:
        DestinationError: it is not a regular file, too large, or cannot be read.
    """
    with explained(path, "read"):
        seen = folder.status_of(name)
        if seen is None:
            return None
        refuse_unreadable(path, seen)
        with folder.opened(name, os.O_RDONLY) as descriptor:
            status = os.fstat(descriptor)
            refuse_unreadable(path, status)
            with open(descriptor, "rb", closefd=False) as file:
                document = Document(file.read(LARGEST + 1))
        if len(document.data) > LARGEST:
            raise too_large(path)
        return Snapshot(document, status)


def sweep(folder: Folder) -> None:
    """Remove what killed writers left behind; to be called under the lock, so that none of it is in use."""
    for name in folder.names():
        if _TEMPORARY.fullmatch(name):
            with suppress(OSError):  # another user's in a shared folder: theirs to remove
                folder.unlink(name)


def replace(folder: Folder, name: str, path: str, former: Snapshot | None, document: Document) -> None:
    """Put `document` in the place of `former`, which keeps its owner and mode; a new file gets 0600.

    Raises:
        DestinationError: nothing was changed.
    """
    temporary = f".env.mushu-{secrets.token_hex(8)}.tmp"
    try:
        with explained(path, "write"), folder.opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
            _fill(descriptor, document)
            _keep_owner_and_mode(descriptor, path, former)
            os.fsync(descriptor)
        _refuse_changed(folder, name, path, former)
        with explained(path, "replace"):
            folder.rename(temporary, name)
    except BaseException:
        with suppress(OSError):
            folder.unlink(temporary)
        raise


def discard(folder: Folder, name: str, path: str, former: Snapshot) -> None:
    """Remove the file, if it is still `former`."""
    _refuse_changed(folder, name, path, former)
    with explained(path, "remove"):
        folder.unlink(name)


def _fill(descriptor: int, document: Document) -> None:
    rest = memoryview(document.data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _keep_owner_and_mode(descriptor: int, path: str, former: Snapshot | None) -> None:
    """Owner first: a change of owner clears bits of the mode."""
    if former is not None:
        made, wanted = os.fstat(descriptor), former.status
        if (made.st_uid, made.st_gid) != (wanted.st_uid, wanted.st_gid):
            try:
                os.fchown(descriptor, wanted.st_uid, wanted.st_gid)
            except PermissionError:
                made = None  # type: ignore[assignment]
        if made is None:
            raise denial(
                path, f"belongs to {wanted.st_uid}:{wanted.st_gid}, and that could not be kept. Run this as root"
            )
    os.fchmod(descriptor, 0o600 if former is None else stat.S_IMODE(former.status.st_mode))


def _refuse_changed(folder: Folder, name: str, path: str, former: Snapshot | None) -> None:
    """The lock keeps other Mushus out, not an editor."""
    now = snapshot(folder, name, path)
    if (now is not None) if former is None else not former.is_still(now):
        raise DestinationError(
            f"{shown(path)} was changed by another program at this very moment. Nothing was written; try again.",
            permanent=False,
        )
