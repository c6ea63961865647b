"""The instance folder: which one it is, what its files are called, and how it is made for this account alone.

It is never the one that the current folder names. Nothing in it is believed before `refuse_foreign` has looked at it.
"""

import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mushu.ownership import fault_of_owner, fault_on_the_way
from mushu.server.errors import ConfigurationError

ROOT: Final = Path(__file__).resolve().parents[2]
SETTINGS_FILE: Final = "settings.toml"
#: Tells of revoked keys (`keys/revocation_journal.py`).
JOURNAL_FILE: Final = "revoked-keys"
SECRET_KEY_FILE: Final = "secret_key"  # noqa: S105 - the name of a file
SEALING_KEYS_FILE: Final = "sealing_keys"
#: Holds what each process counts of the uses of keys, until it is added up (`usage/counters.py`).
USAGE_FOLDER: Final = "usage"
#: Counts requests of keys with limits (`limit_stores.py`).
LIMITS_FILE: Final = "mushu-limits.sqlite3"
#: Tells where the server listens, and is locked while it does.
LISTENING_FILE: Final = "listening.json"

_OTHERS: Final = 0o077


def instance_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the instance folder: MUSHU_INSTANCE_PATH, or `instance/` of the checkout, or that of this account.

    Raises:
        ConfigurationError: it would be another folder wherever a command runs.
    """
    if given := environ.get("MUSHU_INSTANCE_PATH"):
        return _absolute("MUSHU_INSTANCE_PATH", Path(given))
    if (ROOT / "wsgi.py").is_file():
        return ROOT / "instance"
    from platformdirs import user_data_path  # a checkout does without

    try:
        return _absolute("XDG_DATA_HOME", user_data_path("mushu", appauthor=False)) / "instance"
    except RuntimeError:
        raise ConfigurationError("This account has no home folder. Name one in MUSHU_INSTANCE_PATH.") from None


def refuse_foreign(instance: Path) -> None:
    """Refuse a folder that others could change; that of a checkout, which has the code beside it, by its owner.

    Raises:
        ConfigurationError: they could.
    """
    fault = (fault_of_owner if instance.parent == ROOT else fault_on_the_way)(instance)
    if fault is not None:
        raise ConfigurationError(fault)


def faults_elsewhere(named: Mapping[str, str]) -> list[str]:
    """Return why others could change what settings name outside of the instance folder, a sentence each.

    Args:
        named: a path, the URL of a database, or nothing, by the name of the setting.
    """
    paths = {name: sqlite_file(given) if "://" in given else Path(given) for name, given in named.items()}
    faults = (
        fault_on_the_way(path, f"what MUSHU_{name.upper()} names")
        for name, path in paths.items()
        if path is not None and path.is_absolute()  # other files are refused anyway
    )
    return [fault for fault in faults if fault is not None]


def sqlite_url(file: Path) -> str:
    """Return the URL of an SQLite database, as SQLAlchemy reads it: `%` and `?` would mean something else there."""
    return f"sqlite:///{str(file).replace('%', '%25').replace('?', '%3F')}"


def sqlite_file(database_url: str) -> Path | None:
    """Return the file that SQLAlchemy opens for the URL of a database; None where it is no SQLite."""
    from sqlalchemy import make_url  # not loaded by who only reads the settings
    from sqlalchemy.exc import ArgumentError

    with suppress(ArgumentError, ValueError):
        url = make_url(database_url)
        if url.get_backend_name() == "sqlite" and url.database:
            return Path(url.database)
    return None


def prepare_instance(instance: Path, database_url: str) -> None:
    """Make the instance folder (0700) and the secret that signs browser sessions (0600), where they are missing.

    git makes the folder of a checkout as the umask says: it is ours, so what is too open is closed.

    Args:
        database_url: SQLAlchemy's; an SQLite database is made empty, for this account alone.

    Raises:
        ConfigurationError: the folder is another account's.
    """
    instance.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (fault := fault_of_owner(instance)) is not None:  # somebody was faster than we
        raise ConfigurationError(fault)
    _close(instance)
    make_private(instance / SECRET_KEY_FILE, secrets.token_urlsafe(48))
    file = sqlite_file(database_url)
    if file is not None and file.is_absolute():
        # SQLite would create it with the umask's mode; its WAL and shared memory copy the mode from here.
        make_private(file, "")


def secret_key(instance: Path) -> str:
    """Return the secret that signs browser sessions.

    Raises:
        ConfigurationError: it was never generated.
    """
    try:
        return (instance / SECRET_KEY_FILE).read_text()
    except FileNotFoundError:
        raise ConfigurationError(
            f"{instance} is not set up. Run script/up once: it generates secrets and the database there."
        ) from None


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


@contextmanager
def listening(instance: Path, host: str, port: int) -> Iterator[None]:
    """Tell other processes, while this one lives, where it listens; where another server does, that one tells."""
    path = instance / LISTENING_FILE
    make_private(path, "")
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            file.truncate()
            file.write(json.dumps({"host": host, "port": port}))
            file.flush()
        yield


def listening_at(instance: Path) -> tuple[str, int] | None:
    """Return the host and port that the server of this instance listens on; None where none is running."""
    try:
        with (instance / LISTENING_FILE).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except BlockingIOError:
        pass
    except OSError:
        return None
    try:
        told = json.loads((instance / LISTENING_FILE).read_text())
        return str(told["host"]), int(told["port"])
    except (OSError, ValueError, TypeError, KeyError):  # it is being written at this moment
        return None


def _absolute(variable: str, path: Path) -> Path:
    if not path.is_absolute():
        raise ConfigurationError(f"{variable} must be an absolute path, not {str(path)!r}")
    return path


def _close(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid == os.geteuid() and status.st_mode & _OTHERS:
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & ~_OTHERS)
    finally:
        os.close(descriptor)
