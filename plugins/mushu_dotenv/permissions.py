"""Every refusal that depends on the file and its folder, each with its reason and what to do.

Two heights: `refuse_unchangeable` guards every change; `refuse_exposed` guards putting a key in, but never taking one
out, because a file that has become readable is the last from which a key should not be removed.

Where somebody else could have put the file where it is, the key would be theirs. A file is ours, or its owner is the
one who alone, besides root, can write to every folder on the way that is not root's. The sticky bit keeps others from
swapping a folder, but says nothing about a file: whoever came first owns it. Access control lists count as well,
because the system shows what they grant in the bits of the group.
"""

import os
import shutil
import stat
import subprocess
from typing import Final

from mushu.destination import DestinationError, child_environment, others_may_write, user_name
from mushu_dotenv.document import Document
from mushu_dotenv.errors import denial, quoted, refusal, shown
from mushu_dotenv.folder import Folder, PathStep

LARGEST: Final = 16 * 1024 * 1024
#: Lines that a message names.
_LISTED: Final = 5

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISLNK, "a symbolic link"),
)

#: What git exits with where no pattern fits; with more where it failed.
_NOT_IGNORED: Final = 1
#: Seconds that git may take.
_TIMEOUT: Final = 10.0
# The repository may be another user's: nothing in its configuration may make git run a program or open a connection.
_HARDENED: Final = (
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "safe.directory=*"),
)
_ENVIRONMENT: Final = {
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}
_HARDENED_ENVIRONMENT: Final = _ENVIRONMENT | {"GIT_CONFIG_GLOBAL": os.devnull}


def refuse_unreadable(path: str, status: os.stat_result) -> None:
    """Raise if what stands at `path` cannot be read as a file of a decent size."""
    for is_kind, kind in _KINDS:
        if is_kind(status.st_mode):
            raise refusal(path, f"is {kind}, not a regular file. Name the file")
    if status.st_size > LARGEST:
        raise too_large(path)


def too_large(path: str) -> DestinationError:
    """Return the error for a file over the limit."""
    return refusal(
        path, f"is larger than {LARGEST // 1024 // 1024} MiB, so it is hardly a .env file. Name the right one"
    )


def refuse_misunderstood(path: str, document: Document) -> None:
    """Raise if it cannot be told what the document means."""
    if document.fault is not None:
        raise refusal(path, document.fault)


def refuse_unchangeable(path: str, status: os.stat_result, document: Document, variable: str) -> None:
    """Raise if the file could not be replaced such that all but one binding stays as it is."""
    lines = document.lines(variable)
    if len(lines) > 1:
        more = len(lines) - _LISTED
        numbers = ", ".join(map(str, lines[:_LISTED])) + (f" and {more} more" if more > 0 else "")
        raise refusal(path, f"sets {variable} more than once, on lines {numbers}. Keep one of them")
    if status.st_nlink > 1:
        raise refusal(
            path,
            f"has {status.st_nlink} hard links, and replacing it would part them. "
            f"Find the others with `find -samefile {quoted(path)}`, and keep one",
        )
    if os.geteuid() == 0:
        return
    if status.st_uid != os.geteuid():
        raise denial(
            path, f"belongs to {user_name(status.st_uid)}, and only root could keep that. Run this as that user"
        )
    if status.st_gid not in {os.getegid(), *os.getgroups()}:
        raise denial(
            path,
            f"belongs to group {status.st_gid}, of which you are no member. Change it with `chgrp`, or join the group",
        )


def refuse_unchangeable_folder(folder: Folder) -> None:
    """Raise if no file can be made in the folder, or anybody could swap the files in it."""
    mode = folder.status().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise refusal(
            folder.path, f"is a folder that everyone may write to. Close it with `chmod o-w {quoted(folder.path)}`"
        )
    if not folder.writable():
        raise denial(
            folder.path, "is a folder that you may not write to. Run this as its owner, or see `ls -ld` and `mount`"
        )


def refuse_exposed(path: str, folder: Folder, name: str, status: os.stat_result | None) -> None:
    """Raise if others could read the key from the file, or are about to get it with the next commit."""
    if status is not None and stat.S_IMODE(status.st_mode) & 0o066:
        raise refusal(
            path,
            f"can be read or written by others (mode {stat.S_IMODE(status.st_mode):04o}). "
            f"Close it with `chmod 600 {quoted(path)}`",
        )
    refuse_planted(path, folder, status)
    _refuse_tracked(folder.path, name)


def commit_warning(folder: str, name: str) -> str | None:
    """Return a sentence about a file in a git work tree that the next `git add .` would take along; else None.

    Where git does not answer, nothing is known and nothing is said. The user's own configuration is read for once: it
    may name a file with more to ignore.
    """
    folder = os.path.realpath(folder)
    if not _in_work_tree(folder):
        return None
    # Unlike a pathspec, what begins with ./ is a name to the last letter.
    if _ask_git(folder, _ENVIRONMENT, "check-ignore", "-q", "--", f"./{name}") != _NOT_IGNORED:
        return None
    line = ".env*" if name.startswith(".env") else name
    path = shown(os.path.join(folder, name))  # noqa: PTH118 - pathlib cannot hold every name
    return f"{path} is in a git work tree, and git does not ignore it. Add the line {shown(line)} to .gitignore."


def _refuse_tracked(folder: str, name: str) -> None:
    """Raise if git tracks the file `name`, which exists or not, or cannot say.

    A key in a tracked file is in the next commit, and in every clone for good.
    """
    folder = os.path.realpath(folder)
    path = os.path.join(folder, name)  # noqa: PTH118 - pathlib cannot hold every name
    if not _in_work_tree(folder):
        return
    answer = _ask_git(folder, _HARDENED_ENVIRONMENT, "--literal-pathspecs", "ls-files", "--error-unmatch", "--", name)
    if answer == 0:
        raise refusal(
            path, f"is tracked by git. Take it out with `git rm --cached {quoted(path)}`, and name it in .gitignore"
        )
    if answer != 1:
        raise refusal(
            path,
            "stands in a git work tree, and git could not say whether it is tracked. "
            "See what `git ls-files` says in that folder",
        )


def _in_work_tree(folder: str) -> bool:
    while True:
        if os.path.lexists(os.path.join(folder, ".git")):  # noqa: PTH118
            return True
        if folder == "/":
            return False
        folder = os.path.dirname(folder)  # noqa: PTH120


def _ask_git(folder: str, more: dict[str, str], *arguments: str) -> int | None:
    """Return git's exit code, or None if it is not installed or does not answer.

    Args:
        more: the variables that git gets besides those of a child.
    """
    environment = {key: value for key, value in child_environment().items() if not key.startswith("GIT_")}
    # Looked for in that PATH: where the other one names the current folder, a program in there would be git.
    git = shutil.which("git", path=environment.get("PATH", os.defpath))
    if git is None:
        return None
    try:
        return subprocess.run(  # noqa: S603 - no shell, and every argument is ours but the name, after `--`
            [git, *_HARDENED, "-C", folder, *arguments],
            env=environment | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT,
            check=False,
        ).returncode
    except (OSError, subprocess.TimeoutExpired):
        return None


def refuse_planted(path: str, folder: Folder, status: os.stat_result | None) -> None:
    """Raise if others than us, root and the owner of the file decide what stands at `path`.

    Args:
        status: of the file, as it was opened; None where it is to be made, and will be ours.
    """
    ours = {0, os.geteuid()}
    here = folder.status()
    owner = os.geteuid() if status is None else status.st_uid
    # A file of ours stays ours, whoever else may write to its folder; then the folder's owner has a say, too.
    trusted = ours | {here.st_uid if owner in ours else owner}
    for step in folder.steps:
        _refuse_foreign(path, step, trusted)
        _refuse_shared(path, step, trusted, alone=owner not in ours)
    if owner not in ours and (here.st_uid not in trusted or others_may_write(here)):
        raise _planted(path, owner, folder.path)


def refuse_led_astray(path: str, folder: Folder, status: os.stat_result | None) -> None:
    """Raise if a link of a stranger led to the folder: nothing is made there, not even a lock file.

    Args:
        status: of the file; None where there is none.
    """
    owners = {folder.status().st_uid} if status is None else {folder.status().st_uid, status.st_uid}
    for step in folder.steps:
        if stat.S_ISLNK(step.found.st_mode) and step.found.st_uid not in {0, os.geteuid()} | owners:
            raise _elsewhere(path, step.path, step.found.st_uid)


def _refuse_foreign(path: str, step: PathStep, trusted: set[int]) -> None:
    """Raise if the folder, or the link in it, belongs to somebody who could lead the path elsewhere."""
    linked = stat.S_ISLNK(step.found.st_mode) and step.found.st_uid not in trusted
    if step.folder.st_uid in trusted and not linked:
        return
    stranger = step.found.st_uid if linked else step.folder.st_uid
    raise _elsewhere(path, step.path, stranger)


def _elsewhere(path: str, passed: str, stranger: int) -> DestinationError:
    return refusal(
        path,
        f"is reached through {quoted(passed)}, which {user_name(stranger)} can make lead elsewhere. "
        "Choose a path that only you, root or the owner of the file can change",
    )


def _refuse_shared(path: str, step: PathStep, trusted: set[int], *, alone: bool) -> None:
    """Raise if others can swap the folder or link that is found; with the sticky bit, only its owner can."""
    if stat.S_ISREG(step.found.st_mode):
        return
    shared = others_may_write(step.folder) if alone else step.folder.st_mode & stat.S_IWOTH
    if shared and not (step.folder.st_mode & stat.S_ISVTX and step.found.st_uid in trusted):
        raise _planted(path, step.found.st_uid, os.path.dirname(step.path))  # noqa: PTH120 - a text


def _planted(path: str, owner: int, folder: str) -> DestinationError:
    whose = "could be exchanged" if owner in (0, os.geteuid()) else f"could have been put there by {user_name(owner)}"
    return refusal(
        path,
        f"{whose}, because others than its owner can write to {quoted(folder)}. "
        f"Close the folder with `chmod go-w {quoted(folder)}`, or choose another path",
    )
