"""The files of the command: `config.json` and `credentials.json` in the platform's configuration folder, `.mushu.json`.

The first two are 0600 in a folder of 0700 and replaced whole, so that a reader never sees half of one; who changes one
holds a lock, so that two logins at once are both kept. What another user could have written is refused: it would choose
the server that a token goes to. Windows has neither these modes nor this lock; there, who stores a login is told so.

`.mushu.json` names the organization of a project, here or in a folder above. It comes with a repository, and so perhaps
from an enemy: it can name an organization and nothing else. A `url` in it is ignored, or a token could be lured to
another server.
"""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from mushu.cli.answers import IDENTIFIER, is_flat
from mushu.cli.errors import Failure
from mushu.cli.output import note
from mushu.ownership import (
    HAS_OWNERS,
    UNLED,
    UNWAITING,
    UntrustedFileError,
    is_foreign,
    others_may_use,
    others_may_write,
    refuse_foreign,
    refuse_untrusted,
)

with suppress(ImportError):
    import fcntl

CONFIG: Final = "config.json"
CREDENTIALS: Final = "credentials.json"
PROJECT: Final = ".mushu.json"
#: Fields of config.json; what is chosen at a server is kept under its address.
URL: Final = "url"
ORGS: Final = "orgs"
TENANTS: Final = "tenants"

_LOCK: Final = ".lock"
_LARGEST: Final = 1 << 20
_PRIVATE: Final = 0o600

Remembered = dict[str, Any]


def folder() -> Path:
    """Return the folder; it need not exist.

    Raises:
        Failure: this account has no home.
    """
    from platformdirs import user_config_path

    try:
        return user_config_path("mushu", appauthor=False)
    except RuntimeError:
        raise Failure("This account has no home folder to keep anything in. Set HOME, or XDG_CONFIG_HOME.") from None


def read(name: str) -> Remembered:
    """Return what the file holds, nothing where there is none; permissions that are too wide are mended.

    Raises:
        Failure: it cannot be read, is not what mushu wrote, or may be what another user wrote.
    """
    try:
        path = folder() / name
    except Failure:
        return {}  # nothing can have been kept
    try:
        data = _data_of(path)
    except UntrustedFileError as error:
        raise Failure(str(error)) from None
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Failure(f"{path} cannot be read ({error.strerror}). See its owner and permissions.") from None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    remembered: Remembered | None = document if isinstance(document, dict) and is_flat(document) else None
    del data, document  # they may hold tokens, and a traceback printed with locals shows them
    if remembered is None:
        raise Failure(f"{path} is not what mushu writes. Remove it and run `mushu auth login` again.")
    return remembered


@contextmanager
def changing(name: str) -> Iterator[Remembered]:
    """Hand out what the file holds, to be changed in place, and replace the file with it.

    Raises:
        Failure: it cannot be read or written.
    """
    home = folder()
    with _locked(home):
        remembered = read(name)
        yield remembered
        try:
            _replace(home, name, json.dumps(remembered, indent=2) + "\n")
        except OSError as error:
            reason = error.strerror
            remembered.clear()  # or a traceback printed with locals shows it
        else:
            return
    raise Failure(f"{home / name} cannot be written ({reason}). Nothing was changed.")


def chosen_at(url: str, field: str) -> str | None:
    """Return the organization or tenant that is chosen at this server, or None.

    Args:
        field: ORGS or TENANTS.
    """
    chosen = read(CONFIG).get(field)
    value = chosen.get(url) if isinstance(chosen, dict) else None
    return value if isinstance(value, str) and value else None


def choose_at(url: str, field: str, value: str | None) -> None:
    """Remember the organization or tenant for commands to this server; None takes the choice back."""
    with changing(CONFIG) as remembered:
        chosen = remembered.get(field)
        remembered[field] = (chosen if isinstance(chosen, dict) else {}) | {url: value}


def _data_of(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | UNWAITING)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
            return b""
        refuse_foreign(path.parent, path.parent.stat())
        refuse_untrusted(path, status)
        if others_may_use(status):
            os.fchmod(descriptor, _PRIVATE)
            note(f"{path} could be read by others. It is 0600 now; if others use this machine, log in again.")
        return os.read(descriptor, _LARGEST)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = home.stat()
        refuse_foreign(home, status)
        if others_may_write(status):
            home.chmod(0o700)
            note(f"{home} could be written to by others. It is 0700 now.")
        lock = os.open(home / _LOCK, os.O_RDWR | os.O_CREAT | UNLED, _PRIVATE)
        _own_as(home, lock)
    except UntrustedFileError as error:
        raise Failure(str(error)) from None
    except OSError as error:
        reason = error.strerror
    else:
        with os.fdopen(lock, "rb"):
            if HAS_OWNERS:
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        return
    raise Failure(f"Nothing can be kept in {home} ({reason}). Make it a folder of your own that you can write to.")


def _replace(home: Path, name: str, text: str) -> None:
    temporary = home / f".{name}.{os.urandom(8).hex()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | UNLED, _PRIVATE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if HAS_OWNERS:
                os.fchmod(descriptor, _PRIVATE)
            _own_as(home, descriptor)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(home / name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _own_as(home: Path, descriptor: int) -> None:
    """Under sudo, leave what root makes in the caller's folder to the caller, who could not read it otherwise."""
    if HAS_OWNERS and os.geteuid() == 0:
        status = home.stat()
        os.fchown(descriptor, status.st_uid, status.st_gid)


class ProjectOrg(NamedTuple):
    """An organization, and the file that names it."""

    org_id: str
    path: Path


def find_project_org(start: Path) -> ProjectOrg | None:
    """Return what the nearest `.mushu.json` from `start` up names; an unusable one counts as none, with a note."""
    for home in (start, *start.parents):
        path = home / PROJECT
        try:
            descriptor = os.open(path, os.O_RDONLY | UNLED)
        except FileNotFoundError:
            continue
        except OSError as error:
            note(f"{path} is ignored: it cannot be read ({error.strerror}).")
            return None
        try:
            data = None if _is_unfit(os.fstat(descriptor)) else os.read(descriptor, _LARGEST)
        finally:
            os.close(descriptor)
        if data is None:
            note(f"{path} is ignored: it belongs to another user, or is no file.")
            return None
        return _checked(path, data)
    return None


def _is_unfit(status: os.stat_result) -> bool:
    return not stat.S_ISREG(status.st_mode) or is_foreign(status)


def _checked(path: Path, data: bytes) -> ProjectOrg | None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    org_id = document.get("org_id") if isinstance(document, dict) else None
    if not isinstance(org_id, str) or IDENTIFIER.fullmatch(org_id) is None:
        note(f'{path} is ignored: it must look like {{"org_id": "org_…"}}.')
        return None
    if isinstance(document, dict) and "url" in document:
        note(f"The url in {path} is ignored: a repository does not choose where your token goes.")
    return ProjectOrg(org_id, path)
