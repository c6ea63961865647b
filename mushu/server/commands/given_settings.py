"""Settings of a destination as an operator gives them: a secret never stands on the command line."""

import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mushu.keyformat import mask
from mushu.ownership import UntrustedFileError, open_trusted
from mushu.secret import Secret
from mushu.server.errors import Invalid

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: What is in the names of things that others must not see: `token`, `secret_id`, `proxy_password`.
_SECRET: Final = ("token", "secret", "passw", "passphrase", "credential", "private")


def settings_options(command: _Command) -> _Command:
    """Give a command the options from which `read_settings` reads."""
    for option in (
        click.option("--ask", "asked", multiple=True, metavar="NAME", help="Ask for it unseen, or read it from stdin."),
        click.option("--set-from-file", "files", multiple=True, metavar="NAME=PATH", help="Read it from a 0600 file."),
        click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="A setting that is no secret."),
    ):
        command = option(command)
    return command


def read_settings(given: tuple[str, ...], files: tuple[str, ...], asked: tuple[str, ...]) -> dict[str, Secret]:
    """Return all settings that were given, however they were.

    Raises:
        click.UsageError: one is given twice, or as it should not be.
        Invalid: a file cannot be read, others can read it, or others could have written it.
    """
    settings: dict[str, Secret] = {}
    for name, secret in _all(given, files, asked):
        if name in settings:
            raise click.UsageError(f"The setting {name} is given twice.")
        settings[name] = secret
    return settings


def _all(given: tuple[str, ...], files: tuple[str, ...], asked: tuple[str, ...]) -> Iterator[tuple[str, Secret]]:
    for text in given:
        name, value = _split(text, "--set", "NAME=VALUE")
        _refuse_shown(name, value)
        yield name, Secret(value)
    for text in files:
        name, path = _split(text, "--set-from-file", "NAME=PATH")
        yield name, _content(Path(path))
    for name in asked:
        yield name, _answer(name)


def _split(text: str, option: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:  # not repeated: it may be the value alone
        raise click.UsageError(f"{option} takes {form}.")
    return name, value


def _refuse_shown(name: str, value: str) -> None:
    """Refuse what is a secret by its name, unless it is the path of a file, or by its looks."""
    if mask(value) != value or (_names_secret(name) and not (value.startswith("/") and Path(value).is_file())):
        raise click.UsageError(
            f"{name} looks like a secret, and a command line is seen by others and kept by the shell. If it is a real "
            f"one, change it. --ask {name} asks for it unseen, --set-from-file {name}=PATH reads it from a file."
        )


def _names_secret(name: str) -> bool:
    """Tell whether the name is that of a secret, such as `api_key`, and not of a file that holds one."""
    if name.endswith(("_file", "_path")):
        return False
    return name.endswith("key") or any(part in name for part in _SECRET)


def _content(path: Path) -> Secret:
    try:
        with open_trusted(path) as opened:
            if stat.S_IMODE(os.fstat(opened.fileno()).st_mode) & 0o077:
                raise Invalid(f"Others can read {path}. Mend it with: chmod go= {path}", field="settings")
            text = opened.read().decode("utf-8")
    except UntrustedFileError as error:
        raise Invalid(str(error), field="settings") from None
    except OSError as error:
        raise Invalid(f"{path} cannot be read ({error.strerror}).", field="settings") from None
    except UnicodeDecodeError:
        text = None
    if text is None:  # raised here: the error above holds what the file holds
        raise Invalid(f"{path} is not UTF-8.", field="settings")
    return Secret(text.removesuffix("\n").removesuffix("\r"))


def _answer(name: str) -> Secret:
    if sys.stdin.isatty():
        return Secret(click.prompt(name, hide_input=True))
    line = sys.stdin.readline()
    if not line:
        raise click.UsageError(f"There is no terminal to ask on, and no line on standard input for {name}.")
    return Secret(line.rstrip("\r\n"))
