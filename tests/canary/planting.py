"""Leaks made on purpose, one for each channel, at the moment at which a key is written to its destination."""

import base64
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from mushu.destination import DestinationError, Receipt, Secret
from mushu.destination.target import Target


def _print(plaintext: str) -> None:
    print(f"writing {plaintext}")


def _complain(plaintext: str) -> None:
    sys.stderr.write(f"writing {plaintext}\n")


def _log(plaintext: str) -> None:
    logging.getLogger("a.stranger").debug("sending %s", plaintext)


def _log_encoded(plaintext: str) -> None:
    logging.getLogger("a.stranger").debug("sending %s", base64.b64encode(b"key=" + plaintext.encode()).decode())


def _log_beside(plaintext: str) -> None:
    logging.getLogger("a.stranger").info("sending", extra={"body": {"value": plaintext}})


def _temporary_file(plaintext: str) -> None:
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write(plaintext)


def _argument(plaintext: str) -> None:
    subprocess.run(["true", f"--key={plaintext}"], check=False)


def _environment_of_a_child(plaintext: str) -> None:
    subprocess.run(["true"], env={"KEY": plaintext}, check=False)


def _own_environment(plaintext: str) -> None:
    os.environ["KEY"] = plaintext


def _database(plaintext: str) -> None:
    from mushu.server.core import db
    from mushu.server.db import writing

    with writing(db.session):
        db.session.execute(text("UPDATE organizations SET name = :name"), {"name": plaintext})


def _audit(plaintext: str) -> None:
    from mushu.server.audit import SYSTEM, record
    from mushu.server.core import db, get_core
    from mushu.server.db import writing

    with writing(db.session):
        record(db.session, get_core().clock(), SYSTEM, "key.written", "key_x", details={"value": plaintext})


def _rolled_back(plaintext: str) -> None:
    from mushu.server.core import db

    with db.engine.connect() as connection:
        connection.execute(text("UPDATE organizations SET name = :name"), {"name": plaintext})
        connection.rollback()


def _backup_beside_the_destination(plaintext: str) -> None:
    (Path.cwd() / "destination" / ".env.bak").write_text(plaintext)


def _message(plaintext: str) -> None:
    raise DestinationError(f"It does not take {plaintext[4:]}.", permanent=True)


def _local(plaintext: str) -> None:
    value = plaintext[4:]
    raise DestinationError("It does not take it.", permanent=not value)


def _cause(plaintext: str) -> None:
    try:
        raise ValueError(plaintext)
    except ValueError as error:
        raise DestinationError("It does not take it.", permanent=True) from error


#: The last four leak into a channel of others, and are tried in the long form only.
LEAKS: Final[dict[str, Callable[[str], None]]] = {
    "standard output": _print,
    "a log at level debug": _log,
    "a log, encoded": _log_encoded,
    "a temporary file": _temporary_file,
    "an argument of a child": _argument,
    "the environment of a child": _environment_of_a_child,
    "its own environment": _own_environment,
    "the database": _database,
    "a statement that was rolled back": _rolled_back,
    "a copy beside the destination": _backup_beside_the_destination,
    "the message of an error": _message,
    "the cause of an error": _cause,
    "standard error": _complain,
    "the extras of a log": _log_beside,
    "the audit trail": _audit,
    "a local of a frame": _local,
}


def truth_about(folder: Path) -> Path:
    """Return the file, out of sight of the watch, in which the test is told what was leaked."""
    return folder.parent.with_name(f"{folder.parent.name}-truth")


def plant(name: str, folder: Path) -> None:
    """Have every write of a key leak it in one way."""
    leak, real = LEAKS[name], Target.write

    def leaking(self: Target, secret: Secret, *arguments: Any) -> Receipt:
        truth_about(folder).write_text(secret.reveal())
        leak(secret.reveal())
        return real(self, secret, *arguments)

    Target.write = leaking  # type: ignore[assignment, method-assign]
