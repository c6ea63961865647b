"""Whether others than we and root decide what a file holds, before a word of it is believed.

Under sudo, the user who called it is trusted, too: that user could have typed what the file says.
"""

import io
import os
import pwd
import shlex
import stat
from pathlib import Path
from typing import Final

_OTHERS_WRITE: Final = 0o022


class UntrustedFileError(Exception):
    """Others decide what the file or folder holds. The text says who, and what mends it."""


def refuse_untrusted(path: Path, status: os.stat_result) -> None:
    """Raise if others than we, root and who called sudo own the file or folder, or may write to it.

    Args:
        status: of what was opened, so that nothing is put in its place after the look.

    Raises:
        UntrustedFileError: they do.
    """
    refuse_foreign(path, status)
    if status.st_mode & _OTHERS_WRITE and not stat.S_ISLNK(status.st_mode):
        raise UntrustedFileError(
            f"{path} can be written to by others, who may have chosen what is in it. Look what it holds, then close it "
            f"with: chmod go-w {shlex.quote(str(path))}"
        )


def refuse_foreign(path: Path, status: os.stat_result) -> None:
    """Raise if the file or folder belongs to another user than us, root and who called sudo.

    Raises:
        UntrustedFileError: it does.
    """
    if status.st_uid in _trusted_users():
        return
    owner, us = _name_of(status.st_uid), _name_of(os.geteuid())
    raise UntrustedFileError(
        f"{path} belongs to {owner}, who chose what is in it. Look what it holds, then take it over with: "
        f"chown {us} {shlex.quote(str(path))}"
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


def _trusted_users() -> set[int]:
    us = os.geteuid()
    caller = os.environ.get("SUDO_UID", "") if us == 0 else ""
    return {0, us, int(caller)} if caller.isascii() and caller.isdecimal() else {0, us}


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
