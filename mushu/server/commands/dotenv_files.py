"""Takes back what Flask's own script read from files of the current folder, before a command of ours begins.

Before any code of ours runs, `flask` reads `.flaskenv` and `.env`, of the current folder or the nearest above it, and
the file that --env-file names. It puts their variables into the environment. Who wrote such a file would decide
where links are mailed to and which Vault gets a key; and a key in it would reach every child. So all of it is taken
back. What would have set up the server is refused: an operator may rely on it.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource
from dotenv import dotenv_values, find_dotenv
from flask.cli import ScriptInfo

from mushu.destination.registry import installed_schemes, variable_prefix
from mushu.server.config import FOREIGN, PREFIX, Settings
from mushu.server.errors import ConfigurationError

_DEFAULT_FILES: Final = (".env", ".flaskenv")
#: Flask itself sets these for what it runs, and Python that; none of them sets up anything here.
_OF_FLASK: Final = frozenset({"FLASK_DEBUG", "FLASK_RUN_FROM_CLI", "LC_CTYPE"})
_AS_IT_BEGAN: Final = Path("/proc/self/environ")

Contents = Mapping[Path, Mapping[str, str | None]]


def undo(ctx: click.Context | None) -> None:
    """Take back what dotenv files put into the environment, where this process is one of Flask's own script.

    Raises:
        ConfigurationError: one of them sets up the server; the message names it, the variable, and the way out.
    """
    info = ctx.find_root().obj if ctx is not None else None
    if ctx is None or not isinstance(info, ScriptInfo):
        return
    ctx.auto_envvar_prefix = None  # or FLASK_KEYS_CREATE_TO said where keys go
    named = ctx.find_root().get_parameter_source("env_file") in (
        ParameterSource.COMMANDLINE,
        ParameterSource.ENVIRONMENT,
    )
    if not (info.load_dotenv_defaults or named):
        return
    paths = _found() if info.load_dotenv_defaults else []
    # A named pipe was read, and would not answer again.
    files = {path: dotenv_values(path, interpolate=False, encoding="utf-8") for path in paths if path.is_file()}
    began = _began_with()
    if began is None and (named or len(files) < len(paths)):
        raise ConfigurationError(
            "This system does not tell what Flask read from --env-file or from a named pipe. Use `mushu-server` in "
            "place of `flask`: it reads no such file."
        )
    taken = _not_among(began) if began is not None else _from(files)
    for name in taken:
        del os.environ[name]
    settings = sorted(name for name in taken if _sets_up_the_server(name))
    if settings:
        raise ConfigurationError(_refusal(settings, files))


def _found() -> list[Path]:
    return [Path(path) for name in _DEFAULT_FILES if (path := find_dotenv(name, usecwd=True))]


def _began_with() -> set[str] | None:
    """Return the names of the variables that this process began with; None where the system does not tell."""
    try:
        return {entry.partition("=")[0] for entry in os.fsdecode(_AS_IT_BEGAN.read_bytes()).split("\0")}
    except OSError:
        return None


def _not_among(began: set[str]) -> list[str]:
    return [name for name in os.environ if name not in began and name not in _OF_FLASK]


def _from(files: Contents) -> list[str]:
    """Return the names that the files hold now: all settings, and of the rest what has the value that they give it."""
    names = {name for content in files.values() for name in content}
    return [
        name for name in names if name in os.environ and (_sets_up_the_server(name) or _is_from(name, files.values()))
    ]


def _is_from(name: str, contents: Iterable[Mapping[str, str | None]]) -> bool:
    """Tell whether the value is that of a file, or may be, where it is made of others."""
    values = [content[name] or "" for content in contents if name in content]
    return os.environ[name] in values or any("$" in value for value in values)


def _sets_up_the_server(name: str) -> bool:
    if not name.startswith(PREFIX):
        return False
    if name in FOREIGN:
        return name == "MUSHU_INSTANCE_PATH"
    known = {f"{PREFIX}{field.name.upper()}" for field in fields(Settings)}
    return name in known or name.startswith(tuple(variable_prefix(scheme) for scheme in installed_schemes()))


def _refusal(settings: list[str], files: Contents) -> str:
    paths = [str(path) for path, content in files.items() if content.keys() & set(settings)]
    return (
        f"{' and '.join(paths) or 'A dotenv file'} would set {', '.join(settings)}, and no such file sets up the "
        "server. Use `mushu-server` in place of `flask`: it reads none. Or set FLASK_SKIP_DOTENV=1, and leave out "
        "--env-file. What is meant to hold belongs into settings.toml in the instance folder, or the environment."
    )
