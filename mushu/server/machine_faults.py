"""What the machine refuses and no code of ours can help: one sentence for each, with the way on."""

import errno
import os
from typing import Final

from mushu.ownership import user_name

#: Packages that only an extra of the distribution brings, by the name under which they are imported.
_EXTRAS: Final = {"hvac": "vault", "requests": "vault", "boto3": "s3", "botocore": "s3", "psycopg": "postgresql"}
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN: Final = (errno.EACCES, errno.EPERM)
#: How a write to standard output fails.
_UNPRINTED: Final = (errno.ENOSPC, errno.EPIPE, errno.EBADF, errno.EIO)

#: Classes of SQLAlchemy; the last is that of a damaged file, and all others have classes of their own.
_OF_DATABASE: Final = ("OperationalError", "ProgrammingError", "DatabaseError")
_OF_OTHERS: Final = {
    "IntegrityError": (
        "Another process changed the same thing at this moment, or this database is a copy that is not finished. Run "
        "`flask doctor`, and try again."
    ),
    "DataError": "An argument holds a character that cannot be stored. Leave it out.",
}


def explained(error: Exception) -> str | None:
    """Return the sentence for an error that the machine is to blame for; None for any other."""
    if isinstance(error, ModuleNotFoundError):
        return _of_module(error.name or "")
    if isinstance(error, OSError):
        return _of_system(error)
    if type(error).__module__ != "sqlalchemy.exc":  # which not every command has loaded
        return None
    kind = type(error).__name__
    return _of_database(str(getattr(error, "orig", error))) if kind in _OF_DATABASE else _OF_OTHERS.get(kind)


def _of_module(name: str) -> str | None:
    package = name.partition(".")[0]
    if package.startswith("mushu"):
        return None
    extra = _EXTRAS.get(package, "server")
    return f"{package} is not installed. It comes with mushu[{extra}]: install that from where this mushu came from."


def _of_system(error: OSError) -> str | None:
    if isinstance(error, FileNotFoundError) and not _has_current_folder():
        return "The current folder has been deleted. Change to another one, and run this again."
    if error.filename is None:
        return f"The answer could not be printed: {error.strerror}." if error.errno in _UNPRINTED else None
    if error.errno in _FULL:
        way = "Make room there, and run this again."
    elif error.errno == errno.EROFS:
        way = "Have it mounted for writing, or name another folder in MUSHU_INSTANCE_PATH."
    elif error.errno in _FORBIDDEN:
        way = f"{_owner(str(error.filename))} Run this as the account that the server runs as, such as with sudo -u."
    else:
        return None
    return f"{error.filename}: {error.strerror}. {way}"


def _of_database(cause: str) -> str:
    if "disk is full" in cause:
        way = "Make room on its disk, and run this again."
    elif "unable to open" in cause or "readonly" in cause:
        way = "See whose the instance folder is, and whether its disk is mounted for writing."
    elif "malformed" in cause or "not a database" in cause:
        way = "It is damaged: `flask doctor` looks at it, and docs/backup.md says how it is restored."
    else:
        way = "Run `flask doctor`, or script/up once if this server was never started."
    return f"The database does not do what was asked ({cause}). {way}"


def _has_current_folder() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - whether there is one is all that is asked
    except FileNotFoundError:
        return False
    return True


def _owner(path: str) -> str:
    """Say whose a path is, or the folder that it lies in; nothing where that cannot be seen."""
    for place in (path, os.path.dirname(path)):  # noqa: PTH120 - a text, and perhaps no path at all
        try:
            return f"It is {user_name(os.stat(place).st_uid)}'s."  # noqa: PTH116
        except OSError:
            continue
    return ""
