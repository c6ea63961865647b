"""A folder held open: nobody who moves or swaps it can lead a later step elsewhere."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mushu_dotenv.errors import explained
from mushu_dotenv.walk import PathStep, walked

_STANDARD: Final = 2
_SAFE: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Folder:
    """A folder by its descriptor; every name is looked up in it, never a path, and links are not followed."""

    def __init__(self, path: str, descriptor: int, steps: tuple[PathStep, ...] = ()) -> None:
        self.path = path
        #: The folders and links on the way, each as it was when it was passed.
        self.steps = steps
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
    """Walk to the folder of the final file, and yield it, held open, with the file's name.

    Raises:
        MissingFolderError: there is no such folder.
        DestinationError: a link leads nowhere, in circles or where its owner has no say; the folder cannot be opened.
    """
    with explained(path, "find"), walked(path) as end:
        descriptor = _above_standard(os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=end.descriptor))
    try:
        with explained(path, "work on"):
            yield Folder(end.folder, descriptor, end.steps), end.name
    finally:
        os.close(descriptor)


def _above_standard(descriptor: int) -> int:
    """Return `descriptor`, moved past standard error: with streams closed, a stray print would go into our file."""
    if descriptor > _STANDARD:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _STANDARD + 1)
    finally:
        os.close(descriptor)
