"""The file of one operation: found, held by lock and descriptor, replaced, and proven.

A file is read and replaced whole, at once, and only if nobody touched it in between.
"""

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from mushu.destination import DestinationError, Holding
from mushu_dotenv import permissions
from mushu_dotenv.document import Document
from mushu_dotenv.errors import denial, explained, refusal, shown, unproven
from mushu_dotenv.folder import Folder, folder_of
from mushu_dotenv.locking import exclusive
from mushu_dotenv.permissions import LARGEST, refuse_led_astray, refuse_unreadable, too_large
from mushu_dotenv.uri import EnvAddress

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


@dataclass(frozen=True, slots=True)
class EnvFile:
    """Where the file of an address really is, and what it was when the operation began."""

    address: EnvAddress
    folder: Folder
    name: str
    former: Snapshot | None

    @property
    def document(self) -> Document:
        """The content of the file, empty if there is none."""
        return Document(b"") if self.former is None else self.former.document

    @property
    def holding(self) -> Holding:
        """What the variable is."""
        return self.document.holding(self.address.variable)

    def refuse_unchangeable(self) -> None:
        """Raise if one binding could not be changed such that all else stays as it is."""
        permissions.refuse_unchangeable_folder(self.folder)
        if self.former is not None:
            permissions.refuse_unchangeable(
                self.address.path, self.former.status, self.former.document, self.address.variable
            )

    def refuse_exposed(self) -> None:
        """Raise if a key in this file would not stay secret."""
        status = None if self.former is None else self.former.status
        permissions.refuse_exposed(self.address.path, self.folder, self.name, status)

    def refuse_unplaceable(self) -> None:
        """Raise if some program that can read the file would not read the variable from it."""
        reader_problem = self.document.reader_problem(self.address.variable)
        if reader_problem is not None:
            raise refusal(self.address.path, reader_problem.sentences)

    def store(self, document: Document, digest: str | None) -> None:
        """Make `document` the content of the file, and prove that the variable has `digest`, and all else is as before.

        Raises:
            DestinationError: permanent or not, nothing was written; or not permanent, and it was but is not proven.
        """
        path = self.address.path
        if not self._proves(document, digest):
            raise DestinationError(
                f"{shown(path)} is written in a way that leaves no safe place for {self.address.variable}. "
                f"Nothing was written; put a line `{self.address.variable}=` at its end, and try again.",
                permanent=True,
            )
        replace(self.folder, self.name, path, self.former, document)
        with unproven(path):
            self.folder.sync()
            now = snapshot(self.folder, self.name, path)
            if now is None or not now.document.loads_as(document):
                raise DestinationError("It was changed by another program right afterwards.", permanent=False)

    def remove_file(self) -> None:
        """Remove the file, if it is still as it was when the operation began."""
        if self.former is not None:
            discard(self.folder, self.name, self.address.path, self.former)
            with unproven(self.address.path):
                self.folder.sync()

    def _proves(self, document: Document, digest: str | None) -> bool:
        variable = self.address.variable
        return (
            document.fault is None
            and document.holding(variable).digest == digest
            and document.differs_only_in(variable, self.document)
        )


@contextmanager
def opened_file(address: EnvAddress) -> Iterator[EnvFile]:
    """Yield the file of `address`, to look at it.

    Raises:
        MissingFolderError: there is no folder, so nothing is held.
        DestinationError: what is there cannot be read or understood.
    """
    with folder_of(address.path) as (folder, name):
        former = snapshot(folder, name, address.path)
        if former is not None:
            permissions.refuse_misunderstood(address.path, former.document)
        yield EnvFile(address, folder, name, former)


@contextmanager
def locked_file(address: EnvAddress, timeout: float) -> Iterator[EnvFile]:
    """Yield the file of `address`, to change it: no other Mushu does so at the same time.

    Raises:
        DestinationError: as `opened_file`; or it may not be changed; or the lock was not free within `timeout` seconds.
    """
    with folder_of(address.path) as (folder, name):
        permissions.refuse_unchangeable_folder(folder)
        refuse_led_astray(address.path, folder, folder.status_of(name))
        with exclusive(folder, timeout):
            sweep(folder)
            # Looked up again: while we waited, the path may have come to lead elsewhere.
            with opened_file(address) as file:
                if file.name != name or not file.folder.is_same(folder):
                    raise DestinationError(
                        f"{shown(address.path)} was made to lead to another file at this very moment. Try again.",
                        permanent=False,
                    )
                file.refuse_unchangeable()
                yield file
