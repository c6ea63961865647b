"""Whether somebody else could change what a folder or file holds, or put another one in its place.

Root may do everything anyway, and we may; everybody else must neither own nor be able to write to any folder on the
way, the targets of symbolic links included. A folder with the sticky bit, such as /tmp, may be on the way: in it,
nobody moves what belongs to another.
"""

import grp
import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MOST_LINKS: Final = 40


#: What others would change with the instance folder.
_SETTINGS: Final = "the settings of this server"


def fault_on_the_way(target: Path, held: str = _SETTINGS) -> str | None:
    """Return why others could change the folder or file, and what mends it; None where nobody can.

    Args:
        target: an absolute path. It need not exist yet.
        held: what it holds, for the message.
    """
    for path, status in _steps(target):
        fault = _fault_of_owner(path, status, held) or _fault_of_mode(path, status, held, is_target=path == target)
        if fault is not None:
            return fault
    return None


def fault_of_file(path: Path, status: os.stat_result, held: str) -> str | None:
    """Return why others could change a file that was opened, whatever leads to it; None where nobody can."""
    return _fault_of_owner(path, status, held) or _fault_of_mode(path, status, held, is_target=True)


def fault_of_owner(folder: Path) -> str | None:
    """Return why the folder is not ours, whatever leads to it; None where it is, or does not exist."""
    try:
        return _fault_of_owner(folder, folder.stat(), _SETTINGS)
    except FileNotFoundError:
        return None


def _steps(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Go to the folder as the operating system does: yield each folder and link on the way that exists, once each."""
    at, links = Path("/"), 0
    yield at, at.stat()
    remaining = list(reversed(folder.parts[1:]))
    while remaining:
        name = remaining.pop()
        if name == "..":
            at = at.parent
            continue
        try:
            status = (at / name).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return
        yield at / name, status
        if stat.S_ISLNK(status.st_mode) and links < _MOST_LINKS:
            target, links = (at / name).readlink(), links + 1
            at = Path("/") if target.is_absolute() else at
            remaining.extend(reversed(target.parts[1:] if target.is_absolute() else target.parts))
        else:
            at /= name


def _fault_of_owner(path: Path, status: os.stat_result, held: str) -> str | None:
    if status.st_uid in (0, os.geteuid()):
        return None
    owner, us = _name_of(status.st_uid), _name_of(os.geteuid())
    return (
        f"{path} belongs to {owner}, who could change {held}. Run this as {owner}, or give it to this account: "
        f"chown {us} {shlex.quote(str(path))}"
    )


def _fault_of_mode(path: Path, status: os.stat_result, held: str, *, is_target: bool) -> str | None:
    if stat.S_ISLNK(status.st_mode) or (status.st_mode & stat.S_ISVTX and not is_target):
        return None
    others = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid))
    if not others:
        return None
    return (
        f"Others may write to {path}, and so change {held}. Look what they put there, then mend it with: "
        f"chmod go-w {shlex.quote(str(path))}"
    )


def _is_own_group(gid: int) -> bool:
    """Tell whether a group has no member but us, as that which many systems make for each account."""
    us = _name_of(os.geteuid())
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return False
    return group.gr_name in (us, "root") and set(group.gr_mem) <= {us, "root"}


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
