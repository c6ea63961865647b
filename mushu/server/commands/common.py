"""What every command shares: its surroundings, how errors end it, how answers look."""

import getpass
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import click
from sqlalchemy.exc import OperationalError, ProgrammingError

from mushu import process
from mushu.batching import batches
from mushu.printing import NotPrinted, emit, emit_list, use_missing_streams
from mushu.secret import Secret
from mushu.server.audit.service import Actor, ActorKind
from mushu.server.commands import dotenv_files, hints
from mushu.server.config import Settings
from mushu.server.core import context_for, core_context
from mushu.server.errors import MushuError
from mushu.server.instance import listening_at
from mushu.server.lifecycle.context import Context
from mushu.server.machine_faults import explained
from mushu.terminal import printable, printable_lines

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
password_stdin = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
yes = click.option("--yes", is_flag=True, help="Do not ask.")


class AdminGroup(click.Group):
    """A group whose commands run with the core at hand, and whose errors say what to do and exit with 1."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        named["context_settings"] = {"help_option_names": ["-h", "--help"]} | (named.get("context_settings") or {})
        super().__init__(*arguments, **named)

    def invoke(self, ctx: click.Context) -> Any:
        with entered(ctx), core_at_hand():
            return super().invoke(ctx)


class CorelessCommand(click.Command):
    """A command that has to run where there is no core to be had."""

    def invoke(self, ctx: click.Context) -> Any:
        with entered(ctx):
            return super().invoke(ctx)


@contextmanager
def entered(ctx: click.Context) -> Iterator[None]:
    """Make this process one that may hold a key and that the current folder has no say in; errors say what to do."""
    try:
        use_missing_streams()
        dotenv_files.undo(ctx)
        process.harden()
        process.keep_files_private()
        yield
    except MushuError as error:
        raise click.ClickException(printable_lines(hints.of_refusal(error))) from None
    except (OSError, ModuleNotFoundError) as error:
        raise _of_machine(error) from None


@contextmanager
def core_at_hand() -> Iterator[None]:
    """Provide the core; what the database refuses becomes an error that says what to do."""
    try:
        with core_context(_settings_as_served):
            yield
    except (OperationalError, ProgrammingError) as error:
        raise _of_machine(error) from None


def _of_machine(error: Exception) -> Exception:
    """Return the sentence about what the machine refused, or the error where it is ours."""
    sentence = explained(error)
    return click.ClickException(printable_lines(sentence)) if sentence is not None else error


def _settings_as_served() -> Settings:
    """Return the settings with the address that the running server listens on, which links are to name."""
    settings = Settings.load()
    address = listening_at(settings.instance_path)
    return settings if address is None else replace(settings, host=address[0], port=address[1])


def operator() -> Actor:
    """Return who runs this command, by the name of the account on this machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        name = "unknown"
    return Actor(ActorKind.OPERATOR, name)


def operator_context() -> Context:
    """Return what a verb needs to act for who runs this command."""
    return context_for(operator())


def print_json(answer: object) -> None:
    """Print JSON; characters that could steer a terminal stand in it as escapes, which mean the same."""
    emit(printable_lines(json.dumps(answer, indent=2, ensure_ascii=False)))


def print_done(answer: object) -> None:
    """Print the answer about what was done, which is done also where nobody can read the answer."""
    try:
        print_json(answer)
    except NotPrinted as error:
        note(f"It is done. {error.message}")


def print_once(answer: object, end: Callable[[], str]) -> None:
    """Print an answer with a secret that is shown this one time; what nobody has seen is ended.

    Args:
        end: ends what could not be shown, and says what became of it.

    Raises:
        ClickException: it could not be shown.
    """
    try:
        print_json(answer)
    except NotPrinted as error:
        raise click.ClickException(f"What is shown once could not be printed: {error.reason}. {end()}") from None


def note(remark: str) -> None:
    """Tell the operator something that is no answer."""
    click.echo(printable_lines(remark), err=True)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns, as the rows come: they are as wide as what is printed so far needs.

    Control characters in a cell are escaped, so that no name can paint on the terminal.
    """
    cells = [list(headings)]
    widths = [0] * len(headings)
    for batch in batches(rows):
        cells += [[printable(cell) for cell in row] for row in batch]
        widths = _print_aligned(cells, widths)
        cells = []
    if cells:
        _print_aligned(cells, widths)


def _print_aligned(cells: list[list[str]], widths: list[int]) -> list[int]:
    """Print rows in columns of these widths, or wider where a cell needs it; return the widths."""
    widths = [max(width, *(len(row[column]) for row in cells)) for column, width in enumerate(widths)]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    emit("\n".join(line.rstrip() for line in lines))
    return widths


def print_rows(
    answers: Iterable[dict[str, Any]], columns: dict[str, str], *, json_wanted: bool, nothing: str | None = None
) -> None:
    """Print answers, as they come, as JSON or as a table with `columns` (heading by field).

    Args:
        nothing: the sentence that is said in the place of a table without a row.
    """
    if json_wanted:
        emit_list(_item(answer) for answer in answers)
        return
    rest = iter(answers)
    first = list(islice(rest, 1))
    if not first and nothing is not None:
        click.echo(nothing)
        return
    rows = ([_cell(answer.get(field)) for field in columns] for answer in chain(first, rest))
    print_table(list(columns.values()), rows)


def _item(answer: dict[str, Any]) -> str:
    text = printable_lines(json.dumps(answer, indent=2, ensure_ascii=False))
    return "  " + text.replace("\n", "\n  ")


def ask(question: str, *, agreed: bool) -> None:
    """Go on only if the operator agrees; where nobody can be asked, say how to agree beforehand."""
    if agreed:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on. Add --yes.")
    click.confirm(printable(question), abort=True)


def read_password(*, from_stdin: bool) -> Secret:
    """Return a password from standard input or, asked for twice, from the terminal; never from an argument."""
    if from_stdin:
        return Secret(sys.stdin.readline().rstrip("\r\n"))
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on. Use --password-stdin.")
    from mushu.server.users.passwords import MIN_LENGTH  # Argon2 is not loaded by commands that set no password

    prompt = f"Password (at least {MIN_LENGTH} characters)"
    return Secret(click.prompt(prompt, hide_input=True, confirmation_prompt="The same again"))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return ",".join(value) if isinstance(value, list) else str(value)
