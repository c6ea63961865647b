"""The instance folder: made, and read, for this account alone."""

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mushu.server.config import SECRET_KEY_FILE, Settings
from mushu.server.errors import ConfigurationError
from mushu.server.ownership import fault_of_owner

_OTHERS: Final = 0o077


def make_private(path: Path, content: str) -> bool:
    """Create `path` with mode 0600 and `content`, unless it exists; tell whether it was created."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    return True


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Wait until no other process holds the lock, and hold it; a dead process loses it."""
    make_private(lock, "")
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prepare_instance(settings: Settings) -> None:
    """Make the instance folder (0700) and the secret that signs browser sessions (0600), where they are missing.

    git makes the folder of a checkout as the umask says: it is ours, so what is too open is closed.

    Raises:
        ConfigurationError: the folder is another account's.
    """
    settings.instance_path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (fault := fault_of_owner(settings.instance_path)) is not None:  # somebody was faster than we
        raise ConfigurationError(fault)
    _close(settings.instance_path)
    make_private(settings.instance_path / SECRET_KEY_FILE, secrets.token_urlsafe(48))
    if settings.sqlalchemy_url.startswith("sqlite:////"):
        # SQLite would create it with the umask's mode; its WAL and shared memory copy the mode from here.
        make_private(Path(settings.sqlalchemy_url.removeprefix("sqlite:///")), "")


def _close(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid == os.geteuid() and status.st_mode & _OTHERS:
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & ~_OTHERS)
    finally:
        os.close(descriptor)


def secret_key(settings: Settings) -> str:
    """Return the secret that signs browser sessions.

    Raises:
        ConfigurationError: it was never generated.
    """
    try:
        return (settings.instance_path / SECRET_KEY_FILE).read_text()
    except FileNotFoundError:
        raise ConfigurationError(
            f"{settings.instance_path} is not set up. Run script/up once: it generates secrets and the database there."
        ) from None
