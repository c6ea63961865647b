"""Files that hold a credential of ours."""

import os
import shlex
import stat
from typing import Final

from mushu.destination import DestinationError, Secret

_LARGEST: Final = 64 * 1024


def secret_in(path: str, variable: str, *, may_be_shared: bool = False) -> Secret:
    """Return what the file at `path` holds, without blanks around it.

    Args:
        variable: what names the file, for messages.
        may_be_shared: whoever made the file decides who reads it, as the kubelet does.

    Raises:
        DestinationError: it is not there, others can read it, or it holds nothing of use; permanent.
    """
    trouble, found = _opened(path, variable, may_be_shared)
    if trouble:
        raise DestinationError(trouble, permanent=True)
    return found


def _opened(path: str, variable: str, may_be_shared: bool) -> tuple[str, Secret]:
    """Return what is wrong, or nothing; and what was found."""
    named, nothing = f"{shown(path)} ({variable})", Secret("")
    try:
        # Not waiting for a pipe; and the checks are of what was opened, not of what stands there a moment later.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return f"{named} cannot be read. See whether it is there, and this process may read it.", nothing
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return f"{named} is not a regular file. Name the file.", nothing
        if not may_be_shared and stat.S_IMODE(status.st_mode) & 0o077:
            way_out = f"chmod 600 {shlex.quote(shown(path))}"
            return f"{named} can be read or written by others. Close it with `{way_out}`.", nothing
        if not may_be_shared and status.st_uid not in (0, os.geteuid()):
            return (
                f"{named} belongs to user {status.st_uid}, who chose what is in it. Make it anew as this user.",
                nothing,
            )
        held = Secret(os.read(descriptor, _LARGEST + 1).decode("ascii", "replace").strip())
    finally:
        os.close(descriptor)
    return ("", held) if is_token(held) else (f"{named} does not hold one word, as it should. Write it anew.", nothing)


def shown(path: str) -> str:
    """Return `path` fit for a message, whatever its bytes are."""
    return path.encode("unicode_escape").decode("ascii")


def is_token(secret: Secret) -> bool:
    """Tell whether `secret` can stand in a header: one printable word of ASCII, of a decent size."""
    word = secret.reveal()
    return 0 < len(word) <= _LARGEST and all("!" <= letter <= "~" for letter in word)
