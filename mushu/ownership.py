"""Who decides what a file or folder holds, before a word of it is believed or a secret is put there.

Root may do everything anyway, and we may. Everybody else must neither own a file nor be able to write to it; on the way
to what must not be exchanged, that holds for every folder and for the targets of symbolic links. A folder with the
sticky bit, such as /tmp, may be on the way: in it, nobody moves what belongs to another. Where somebody who called sudo
says which file to read, that user is trusted, too: that user could have typed what the file says.

Windows has neither such owners nor modes, but access control lists, which are not read here. There, nothing is refused.
"""

import io
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

with suppress(ImportError):
    import grp
    import pwd

#: Whether this system says by owner and mode who may do what with a file.
HAS_OWNERS: Final = hasattr(os, "geteuid")
#: Further flags to open what is looked at before it is believed, as far as the system has them: do not wait for a pipe,
#: and leave bytes as they are.
UNWAITING: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
#: The same, and follow no link.
UNLED: Final = UNWAITING | getattr(os, "O_NOFOLLOW", 0)
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_MOST_LINKS: Final = 40
#: What others would change with the instance folder.
_SETTINGS: Final = "the settings of this server"


class UntrustedFileError(Exception):
    """Others decide what the file or folder holds. The text says who, and what mends it."""


def user_name(uid: int) -> str:
    """Return how a sentence names the user with this id."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def others_may_write(status: os.stat_result) -> bool:
    """Tell whether the mode lets others than the owner write. What an access control list grants shows in it, too."""
    return HAS_OWNERS and bool(status.st_mode & _OTHERS_WRITE)


def others_may_use(status: os.stat_result) -> bool:
    """Tell whether the mode lets others than the owner read or write."""
    return HAS_OWNERS and bool(status.st_mode & _OTHERS)


def is_foreign(status: os.stat_result) -> bool:
    """Tell whether the file belongs to another user than root and us."""
    return HAS_OWNERS and status.st_uid not in (0, os.geteuid())


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


def refuse_untrusted(path: Path, status: os.stat_result) -> None:
    """Raise if others than we, root and who called sudo own the file or folder, or may write to it.

    Args:
        status: of what was opened, so that nothing is put in its place after the look.

    Raises:
        UntrustedFileError: they do.
    """
    refuse_foreign(path, status)
    if others_may_write(status) and not stat.S_ISLNK(status.st_mode):
        raise UntrustedFileError(
            f"{path} can be written to by others, who may have chosen what is in it. Look what it holds, then close it "
            f"with: {_closing(path)}"
        )


def refuse_foreign(path: Path, status: os.stat_result) -> None:
    """Raise if the file or folder belongs to another user than us, root and who called sudo.

    Raises:
        UntrustedFileError: it does.
    """
    if HAS_OWNERS and status.st_uid not in _trusted_users():
        raise UntrustedFileError(
            f"{path} belongs to {user_name(status.st_uid)}, who chose what is in it. Look what it holds, then take it "
            f"over with: {_taking_over(path)}"
        )


def open_trusted(path: Path) -> io.BufferedReader:
    """Open the file to read it. It may be a pipe of our own, such as a shell makes for `<(command)`.

    Raises:
        UntrustedFileError: others decide what it holds.
        OSError: it cannot be opened.
    """
    refuse_untrusted(path, path.stat())  # before it is opened: the pipe of another user would keep us waiting
    file = path.open("rb")
    try:
        refuse_untrusted(path, os.fstat(file.fileno()))
    except UntrustedFileError:
        file.close()
        raise
    return file


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
    if not is_foreign(status):
        return None
    owner = user_name(status.st_uid)
    return (
        f"{path} belongs to {owner}, who could change {held}. Run this as {owner}, or give it to this account: "
        f"{_taking_over(path)}"
    )


def _fault_of_mode(path: Path, status: os.stat_result, held: str, *, is_target: bool) -> str | None:
    if stat.S_ISLNK(status.st_mode) or (status.st_mode & stat.S_ISVTX and not is_target):
        return None
    others = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid))
    if not others:
        return None
    return (
        f"Others may write to {path}, and so change {held}. Look what they put there, then mend it with: "
        f"{_closing(path)}"
    )


def _is_own_group(gid: int) -> bool:
    """Tell whether a group has no member but us, as that which many systems make for each account."""
    us = user_name(os.geteuid())
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return False
    return group.gr_name in (us, "root") and set(group.gr_mem) <= {us, "root"}


def _trusted_users() -> set[int]:
    us = os.geteuid()
    caller = os.environ.get("SUDO_UID", "") if us == 0 else ""
    return {0, us, int(caller)} if caller.isascii() and caller.isdecimal() else {0, us}


def _closing(path: Path) -> str:
    return f"chmod go-w {shlex.quote(str(path))}"


def _taking_over(path: Path) -> str:
    us = os.geteuid()
    try:
        account = pwd.getpwuid(us).pw_name
    except KeyError:  # `chown` takes a number as well, and no "user 1000"
        account = str(us)
    return f"chown {account} {shlex.quote(str(path))}"
