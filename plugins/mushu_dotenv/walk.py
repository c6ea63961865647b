"""The way to a file: one folder after another, each by the descriptor of the one above.

The system is never given a path of more than one name, so what is checked of a folder is what was passed.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from mushu.destination import user_name
from mushu_dotenv.errors import MissingFolderError, refusal, shown

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
