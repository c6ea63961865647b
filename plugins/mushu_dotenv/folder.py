"""The way to a file, and its folder held open: nobody who moves or swaps one can lead a later step elsewhere.

The way is one folder after another, each by the descriptor of the one above. The system is never given a path of more
than one name, so what is checked of a folder is what was passed.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from mushu.destination import user_name
from mushu_dotenv.errors import MissingFolderError, explained, refusal, shown

_MOST_LINKS: Final = 40
# Only to pass through: no permission to read the folder is needed.
_PASS: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class PathStep:
    """One name on the way: the folder that it was looked up in, and what it was."""

    path: str
    folder: os.stat_result
    found: os.stat_result


@dataclass(slots=True)
class PathWalk:
    """Where a walk has come to, and what is left of it."""

    start: str
    left: list[str]
    descriptor: int
    folder: str = "/"
    name: str = ""
    links: int = 0
    #: Who made the links that stand in the place of the file itself.
    makers: set[int] = field(default_factory=set)
    passed: list[PathStep] = field(default_factory=list)

    @property
    def steps(self) -> tuple[PathStep, ...]:
        """What was passed, in its order."""
        return tuple(self.passed)

    def move(self, descriptor: int, folder: str) -> None:
        """Go on from `folder`."""
        os.close(self.descriptor)
        self.descriptor, self.folder = descriptor, folder


@contextmanager
def walked(path: str) -> Iterator[PathWalk]:
    """Yield the end of the way to `path`: the descriptor of the folder of the final file, and the file's name."""
    walk = PathWalk(path, _names(path), os.open("/", _PASS | os.O_DIRECTORY))
    try:
        while walk.left:
            _step(walk, walk.left.pop(0))
        if walk.name in ("", ".", ".."):
            raise refusal(path, "is a folder. Name a file in it")
        yield walk
    finally:
        os.close(walk.descriptor)


def _names(path: str) -> list[str]:
    """Return the names that a path is made of; the last one is empty where it ends in a slash."""
    first, *others = path.split("/")
    return [name for name in (first, *others[:-1]) if name not in ("", ".")] + others[-1:]


def _step(walk: PathWalk, name: str) -> None:
    path = f"{walk.folder.rstrip('/')}/{name}"
    last = not walk.left
    if last and name in ("", ".", ".."):
        walk.name = ""
        return
    try:
        found = os.stat(name, dir_fd=walk.descriptor, follow_symlinks=False)
    except FileNotFoundError:
        found = None
    if found is None:
        _missing(walk, name, path, last=last)
        return
    walk.passed.append(PathStep(path, os.fstat(walk.descriptor), found))
    if stat.S_ISLNK(found.st_mode):
        _follow(walk, name, found, last=last)
    elif last:
        _refuse_foreign_links(walk.start, walk.makers - {0, os.geteuid(), found.st_uid})
        walk.name = name
    else:
        inner = os.open(name, _PASS | os.O_DIRECTORY, dir_fd=walk.descriptor)
        walk.passed[-1] = PathStep(path, walk.passed[-1].folder, os.fstat(inner))
        walk.move(inner, path if name != ".." else os.path.dirname(walk.folder))  # noqa: PTH120 - a text


def _missing(walk: PathWalk, name: str, path: str, *, last: bool) -> None:
    if not last:
        raise MissingFolderError(f"The folder {shown(path)} does not exist. Make it first: `mkdir -p`.")
    if walk.makers:
        raise refusal(walk.start, "is a symbolic link to a file that does not exist. Make the file, or the link anew")
    walk.name = name


def _follow(walk: PathWalk, name: str, found: os.stat_result, *, last: bool) -> None:
    """Put what the link says in its place."""
    walk.links += 1
    if walk.links > _MOST_LINKS:
        raise refusal(walk.start, "is a symbolic link that leads in a circle. Point it at the file")
    if last:
        walk.makers.add(found.st_uid)
    target = os.readlink(name, dir_fd=walk.descriptor)
    names = _names(target)
    walk.left = names + walk.left if last else [part for part in names if part] + walk.left
    if target.startswith("/"):
        walk.move(os.open("/", _PASS | os.O_DIRECTORY), "/")


def _refuse_foreign_links(path: str, strangers: set[int]) -> None:
    """Whoever made the link would choose which file of somebody else is rewritten."""
    if strangers:
        raise refusal(
            path,
            f"is a symbolic link made by {user_name(min(strangers))} to a file of another user. Name the file itself",
        )


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
