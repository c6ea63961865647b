"""What the operating system's errors mean to an operator, and what to do about each."""

import errno
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mushu.destination import Denied, DestinationError

_PASSING: Final = {
    errno.ENOSPC: "The disk is full. Free some space and try again",
    errno.EDQUOT: "The disk quota is used up. Free some space and try again",
    errno.EIO: "The disk reports a fault. See `dmesg`, then try again",
    errno.EMFILE: "This process has too many files open. Raise `ulimit -n` and try again",
    errno.ENFILE: "The machine has too many files open. Try again",
    errno.ENOENT: "It went away in the meantime. Try again",
}
_DENIED: Final = {
    errno.EACCES: "Permission is denied. Run this as the owner of the file and its folder; `namei -l PATH` shows them",
    errno.EPERM: "The system does not permit it. See who owns the file with `ls -l`, and its flags with `lsattr`",
    errno.EROFS: "The file system is read-only. Mount it writable, or choose another path",
}
_LASTING: Final = {
    errno.EFBIG: "The file may not become that large. Raise `ulimit -f`",
    errno.EBUSY: "The file itself is a mount point. Mount its folder instead",
    errno.ENAMETOOLONG: "The path is too long. Choose a shorter one",
    errno.ELOOP: "There is a symbolic link where none may be, or a loop of them. See `namei -l PATH`",
    errno.ENOTDIR: "Something in the path is not a folder. See `namei -l PATH`",
    errno.EISDIR: "There is a folder where a file should be. Choose another path",
}


class MissingFolderError(DestinationError):
    """The folder of the file does not exist: nothing is held there, and nothing can be written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, permanent=True)


def shown(path: str) -> str:
    """Return `path` fit for a message: whatever its bytes are, one printable line."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def quoted(path: str) -> str:
    """Return `path` fit for a command that a person copies from a message."""
    return shlex.quote(shown(path))


def refusal(path: str, sentences: str) -> DestinationError:
    """Return the permanent error about `path`, with the reason and the way out in `sentences`."""
    return DestinationError(f"{shown(path)} {sentences}.", permanent=True)


def denial(path: str, sentences: str) -> Denied:
    """Return the error for a `path` that the system keeps from this user, with the reason and the way out."""
    return Denied(f"{shown(path)} {sentences}.")


@contextmanager
def explained(path: str, act: str) -> Iterator[None]:
    """Turn an error of the operating system while trying to `act` on `path` into one for the operator."""
    try:
        yield
    except OSError as error:
        raise _explanation(path, act, error.errno or 0) from None


@contextmanager
def unproven(path: str) -> Iterator[None]:
    """Turn any error after the file was replaced into one that says so: the caller must read to find out."""
    try:
        yield
    except (OSError, DestinationError) as error:
        reason = f"{os.strerror(error.errno or 0)}." if isinstance(error, OSError) else str(error)
        raise DestinationError(
            f"{shown(path)} was replaced, but whether that lasts could not be proven: {reason} "
            "Read the destination again before anything else is done.",
            permanent=False,
        ) from None


def _explanation(path: str, act: str, number: int) -> DestinationError:
    known = _DENIED.get(number) or _LASTING.get(number) or _PASSING.get(number)
    way_out = known or f"{os.strerror(number)}. Try again"
    sentences = f"Could not {act} {shown(path)}. {way_out.replace('PATH', shown(path))}."
    return Denied(sentences) if number in _DENIED else DestinationError(sentences, permanent=number in _LASTING)
