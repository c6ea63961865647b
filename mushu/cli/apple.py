"""Apple's credentials on the command line: two names, and the file that holds the private key.

The key itself is no argument, which would stand in the history of the shell and in the list of processes.
"""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mushu.cli.output import note
from mushu.secret import Secret
from mushu.trusted_file import UntrustedFileError, open_trusted

Command = TypeVar("Command", bound=Callable[..., Any])

_LARGEST: Final = 8_000
_OTHERS: Final = 0o077
_STDIN: Final = "-"


def apple_key(*, required: bool) -> Callable[[Command], Command]:
    """Take `team_id`, `key_id` and `private_key_file`, to be handed to `read_apple_key`."""

    def decorated(command: Command) -> Command:
        for option in (_file(required=required), _key(required=required), _team(required=required)):
            command = option(command)
        return command

    return decorated


def read_apple_key(team_id: str | None, key_id: str | None, file: str | None) -> dict[str, Any] | None:
    """Return the fields of a request, the key wrapped; None where nothing is given.

    Raises:
        UsageError: only a part of them is given, or the file holds no key.
    """
    if not team_id and not key_id and not file:
        return None
    if not team_id or not key_id or not file:
        raise click.UsageError("--team-id, --key-id and --private-key-file go together: all three, or none.")
    return {"team_id": team_id, "key_id": key_id, "private_key": _private_key(file)}


def _private_key(file: str) -> Secret:
    """Return the content of the file, or of standard input.

    Raises:
        UsageError: it cannot be read, is too large for a key, or others could have written it.
    """
    if file == _STDIN:
        if sys.stdin.isatty():  # what is pasted at a terminal is shown there
            raise click.UsageError("Pipe the key in (mushu … --private-key-file - < AuthKey.p8), or name its file.")
        text = sys.stdin.read(_LARGEST + 1)
    else:
        try:
            text = _content(Path(file))
        except UntrustedFileError as error:
            raise click.BadParameter(str(error), param_hint="'--private-key-file'") from None
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise click.BadParameter(f"{file} cannot be read: {reason}.", param_hint="'--private-key-file'") from None
    if not text.strip() or len(text) > _LARGEST:
        raise click.BadParameter(
            "that is no private key. Apple hands it out once, as a file AuthKey_….p8.",
            param_hint="'--private-key-file'",
        )
    return Secret(text)


def _content(path: Path) -> str:
    with open_trusted(path) as opened:
        if stat.S_IMODE(os.fstat(opened.fileno()).st_mode) & _OTHERS:
            note(f"{path} can be read by others. `chmod 600 {path}`, or remove it once it is here.")
        return opened.read(_LARGEST + 1).decode("ascii")


def _team(*, required: bool) -> Callable[[Command], Command]:
    return click.option("--team-id", required=required, help="Apple's name for the team: ten capitals and digits.")


def _key(*, required: bool) -> Callable[[Command], Command]:
    return click.option("--key-id", "-k", required=required, help="Apple's name for the key: ten capitals and digits.")


def _file(*, required: bool) -> Callable[[Command], Command]:
    return click.option(
        "--private-key-file", "--key-file", "-f", "private_key_file",
        metavar="FILE", required=required, help="The AuthKey_….p8 that Apple gave out; - reads standard input.",
    )  # fmt: skip
