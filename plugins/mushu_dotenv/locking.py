"""One writer at a time per folder: an advisory lock on a file of its own, which stays behind and is always empty.

The `.env` file itself cannot carry the lock, because it is replaced by every write.
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from mushu.destination import DestinationError, user_name
from mushu_dotenv.errors import explained, refusal, shown
from mushu_dotenv.folder import Folder

LOCK_NAME: Final = ".env.mushu-lock"

_DEFAULT_TIMEOUT: Final = 10.0
_LONGEST_TIMEOUT: Final = 3600.0
_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.02


@contextmanager
def exclusive(folder: Folder, timeout: float) -> Iterator[None]:
    """Hold the lock of `folder`, waiting for it `timeout` seconds at most.

    Raises:
        DestinationError: somebody else kept it for so long (not permanent), or it is no lock file.
    """
    path = f"{folder.path.rstrip('/')}/{LOCK_NAME}"
    deadline = time.monotonic() + timeout
    held = False
    while not held:
        with explained(path, "open the lock file"):
            _make(folder)
            descriptor = folder.open(LOCK_NAME, os.O_RDWR)
        try:
            _refuse_odd(descriptor, path, folder)
            _wait(descriptor, deadline, path, timeout)
            # Somebody may have deleted the file while we waited; then others lock a new one.
            status = folder.status_of(LOCK_NAME)
            held = status is not None and os.path.samestat(os.fstat(descriptor), status)
            if held:
                yield
        finally:
            # Not left to close: a forked child may still have the descriptor.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def timeout_from(settings: Mapping[str, str]) -> float:
    """Return how long to wait for the lock, in seconds: the setting `timeout`, ten where it is not set.

    Raises:
        DestinationError: the setting is not a number of seconds between 0 and 3600; permanent.
    """
    given = settings.get("timeout", "")
    try:
        timeout = float(given or _DEFAULT_TIMEOUT)
    except ValueError:
        timeout = -1.0
    if not 0 <= timeout <= _LONGEST_TIMEOUT:
        raise DestinationError(
            "The setting `timeout` of env: destinations must be a number of seconds from 0 to 3600.", permanent=True
        )
    return timeout


def _make(folder: Folder) -> None:
    """Make the lock file if there is none. Only one that was made here may be changed: another could be a hard link."""
    if folder.status_of(LOCK_NAME) is not None:
        return
    try:
        with folder.opened(LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_EXCL) as descriptor:
            os.fchmod(descriptor, 0o600)  # whatever the umask took away
            if os.geteuid() == 0:
                # The folder's owner must be able to lock it later without root.
                os.fchown(descriptor, folder.status().st_uid, folder.status().st_gid)
    except FileExistsError:
        return


def _refuse_odd(descriptor: int, path: str, folder: Folder) -> None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise refusal(path, "should be a lock file and is something else. Remove it")
    if status.st_uid not in {0, os.geteuid(), folder.status().st_uid}:
        raise refusal(
            path,
            f"was made by {user_name(status.st_uid)}, who could keep you waiting. Remove it, or choose another folder",
        )


def _wait(descriptor: int, deadline: float, path: str, timeout: float) -> None:
    pause = _FIRST_PAUSE
    while True:
        with explained(path, "lock"), suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() >= deadline:
            raise DestinationError(
                f"Another process has held the lock {shown(path)} for {timeout:g} seconds. Try again; "
                "`fuser -v` with that path names the process.",
                permanent=False,
            )
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
