"""What every command shares: its surroundings, how errors end it, what it asks."""

import getpass
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click
from sqlalchemy.exc import DatabaseError

from mushu import process
from mushu.printing import use_missing_streams
from mushu.server.audit import Actor, ActorKind
from mushu.server.commands import dotenv_files
from mushu.server.config import Settings
from mushu.server.core import context_for, core_context
from mushu.server.errors import MushuError
from mushu.server.lifecycle.context import Context
from mushu.server.machine_faults import explained
from mushu.terminal import printable, printable_lines

#: Settings of a command, or of a group for all that is in it.
HELP: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"]}
of_org = click.option(
    "--org",
    envvar="MUSHU_ORG_ID",
    help="Id or exact name of the organization; if left out, MUSHU_ORG_ID or the only one.",
)
yes = click.option("--yes", is_flag=True, help="Do not ask.")
limits = click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="LIMIT",
    help="How often it may be used, as 100/minute; repeatable.",
)
no_limits = click.option("--no-limits", is_flag=True, help="Let it be used as often as anybody likes.")
networks = click.option(
    "--network", "networks", multiple=True, metavar="CIDR", help="A network that it may be used from; repeatable."
)


class AdminGroup(click.Group):
    """A group whose commands run with the core at hand, and whose errors say what to do and exit with 1."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **{"context_settings": HELP} | named)

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
        raise click.ClickException(printable_lines(of_refusal(error))) from None
    except (OSError, ModuleNotFoundError) as error:
        raise _of_machine(error) from None


@contextmanager
def core_at_hand() -> Iterator[None]:
    """Provide the core; what the database refuses becomes an error that says what to do."""
    with database_at_hand(), core_context(Settings.as_served):
        yield


@contextmanager
def database_at_hand() -> Iterator[None]:
    """Let what the database refuses become an error that says what to do."""
    try:
        yield
    except DatabaseError as error:
        raise _of_machine(error) from None


def of_refusal(error: MushuError) -> str:
    """Return the sentence of an error, with the way out that a command has and HTTP has not."""
    return f"{error.detail} --force overwrites it." if error.overwritable else error.detail


def _of_machine(error: Exception) -> Exception:
    """Return the sentence about what the machine refused, or the error where it is ours."""
    sentence = explained(error)
    return click.ClickException(printable_lines(sentence)) if sentence is not None else error


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


def ask(question: str, *, agreed: bool) -> None:
    """Go on only if the operator agrees; where nobody can be asked, say how to agree beforehand."""
    if not (agreed or sys.stdin.isatty()):
        raise click.UsageError("There is no terminal to ask on. Add --yes.")
    if not agreed:
        click.confirm(printable(question), abort=True)


def given(option: str, texts: Sequence[str], *, none: bool) -> Sequence[str] | None:
    """Return what is to change: the texts that are given, none at all, or None where nothing is said."""
    if texts and none:
        raise click.UsageError(f"Give --{option}, or --no-{option}s; not both.")
    return texts if texts or none else None
