"""Every refusal that depends on the file and its folder, each with its reason and what to do.

Two heights: `refuse_unchangeable` guards every change; `refuse_exposed` guards putting a key in, but never taking one
out, because a file that has become readable is the last from which a key should not be removed.
"""

import os
import stat
from typing import Final

from mushu.destination import DestinationError, user_name
from mushu_dotenv.document import Document
from mushu_dotenv.errors import denial, quoted, refusal
from mushu_dotenv.folder import Folder
from mushu_dotenv.git import refuse_tracked
from mushu_dotenv.ownership import refuse_planted

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
    refuse_tracked(folder.path, name)
