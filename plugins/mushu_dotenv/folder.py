"""A folder held open, so that whoever moves or swaps it cannot lead a later step elsewhere."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mushu_dotenv.faults import MissingFolderError, explained, refusal, shown

_MOST_LINKS: Final = 40
_STANDARD: Final = 2
_SAFE: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Folder:
    """A folder by its descriptor; every name is looked up in it, never a path, and links are not followed."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def status(self) -> os.stat_result:
        """Return the status of the folder itself."""
        return os.fstat(self._descriptor)

    def status_of(self, name: str) -> os.stat_result | None:
        """Return the status of what is called `name`, or None."""
        try:
            return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def is_same(self, other: "Folder") -> bool:
        """Tell whether both are one folder, whatever its paths."""
        return os.path.samestat(self.status(), other.status())

    def open(self, name: str, flags: int) -> int:
        """Open `name`, a new file with mode 0600, and return the descriptor, which the caller closes."""
        return _above_standard(os.open(name, flags | _SAFE, 0o600, dir_fd=self._descriptor))

    @contextmanager
    def opened(self, name: str, flags: int) -> Iterator[int]:
        """Open `name` as `open` does, and close it in the end."""
        descriptor = self.open(name, flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def names(self) -> list[str]:
        """Return the names in the folder."""
        return os.listdir(self._descriptor)  # noqa: PTH208 - a descriptor, not a path

    def rename(self, name: str, new_name: str) -> None:
        """Rename `name`, replacing what is called `new_name`."""
        os.rename(name, new_name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def unlink(self, name: str) -> None:
        """Remove the file `name`."""
        os.unlink(name, dir_fd=self._descriptor)

    def writable(self) -> bool:
        """Tell whether this process may make files in the folder."""
        return os.access(".", os.W_OK | os.X_OK, dir_fd=self._descriptor, effective_ids=True)

    def sync(self) -> None:
        """Make renames last; some file systems cannot be asked to."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise


@contextmanager
def folder_of(path: str) -> Iterator[tuple[Folder, str]]:
    """Follow the links that `path` ends in, and yield the folder of the final file, held open, with the file's name.

    Raises:
        MissingFolderError: there is no such folder.
        DestinationError: a link leads nowhere, in circles or where its owner has no say; the folder cannot be opened.
    """
    with explained(path, "find"):
        folder_path, _, name = follow(path).rpartition("/")
        folder_path = folder_path or "/"
    if name in ("", ".", ".."):
        raise refusal(path, "is a folder. Name a file in it")
    descriptor = None
    with explained(folder_path, "open the folder"):
        try:
            descriptor = _above_standard(os.open(folder_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except FileNotFoundError:
            descriptor = None
    if descriptor is None:
        raise MissingFolderError(f"The folder {shown(folder_path)} does not exist. Make it first: `mkdir -p`.")
    try:
        with explained(path, "work on"):
            yield Folder(folder_path, descriptor), name
    finally:
        os.close(descriptor)


def follow(path: str) -> str:
    """Return where the symbolic links lead that `path` ends in; links among its folders are left to the system."""
    owners: set[int] = set()
    start = path
    for _ in range(_MOST_LINKS):
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            if owners:
                raise refusal(
                    start, "is a symbolic link to a file that does not exist. Make the file, or the link anew"
                ) from None
            return path
        if not stat.S_ISLNK(status.st_mode):
            _refuse_foreign_links(start, owners - {0, os.geteuid(), status.st_uid})
            return path
        owners.add(status.st_uid)
        path = os.path.join(os.path.dirname(path), os.readlink(path))  # noqa: PTH115, PTH118, PTH120 - `..` must stay
    raise refusal(start, "is a symbolic link that leads in a circle. Point it at the file")


def _refuse_foreign_links(path: str, strangers: set[int]) -> None:
    """Whoever made the link would choose which file of somebody else is rewritten."""
    if strangers:
        raise refusal(
            path, f"is a symbolic link made by user {min(strangers)} to a file of another user. Name the file itself"
        )


def _above_standard(descriptor: int) -> int:
    """Return `descriptor`, moved past standard error: with streams closed, a stray print would go into our file."""
    if descriptor > _STANDARD:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _STANDARD + 1)
    finally:
        os.close(descriptor)
