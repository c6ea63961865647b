"""The options and arguments that several commands take, and how a command gets its session."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mushu.address import normalized
from mushu.cli.answers import IDENTIFIER
from mushu.cli.session import Session
from mushu.duration import duration_of, moment_of
from mushu.environment import Environment

Command = TypeVar("Command", bound=Callable[..., Any])


class EnvironmentType(click.Choice[str]):
    """Live or test."""

    def __init__(self) -> None:
        super().__init__([one.value for one in Environment])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Environment:
        return Environment(super().convert(value, param, ctx))


#: Hands the session to a command as its first argument.
pass_session = click.make_pass_decorator(Session, ensure=True)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
yes = click.option("--yes", is_flag=True, help="Do not ask.")
deliver_to = click.option(
    "--deliver-to", "names", multiple=True, metavar="NAME", help="Have the server put it there, by name; repeatable."
)
tenant = click.option("--tenant", "-t", metavar="TENANT", help="Its id; else MUSHU_TENANT_ID, `mushu tenant use`.")
env = click.option("--env", type=EnvironmentType(), help="Live or test; else that of the API key, or live.")
org = click.option("--org", metavar="ORG", help="Id or exact name; else MUSHU_ORG_ID, .mushu.json, `mushu org use`.")


def always_json(command: Command) -> Command:
    """Take `--json`, which changes nothing: so that it can be added to any command."""
    return click.option("--json", is_flag=True, expose_value=False, help="Print JSON, as this command always does.")(
        command
    )


def connecting(command: Command) -> Command:
    """Take the options that say which server is asked, and how."""
    for option in (_INSECURE, _CA, _URL):
        command = option(command)
    return command


class IdType(click.ParamType[str]):
    """A public id; a credential that was pasted in its place is refused and not repeated."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if text.startswith(("msk_", "mct_")):
            self.fail(
                "that is a secret, not an id, and is now in the history of your shell: treat it as leaked. "
                "The id begins with key_; `mushu api-key list` shows it.",
                param,
                ctx,
            )
        if IDENTIFIER.fullmatch(text) is None:
            self.fail("an id has only letters, digits, _ and - in it.", param, ctx)
        return text


class MomentType(click.ParamType[datetime]):
    """A moment, as 2026-01-15T10:30:00Z, or as 7d for so long ago."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            return moment_of(str(value), datetime.now(UTC))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class DurationType(click.ParamType[timedelta]):
    """How long something lasts, such as 90d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        try:
            return duration_of(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


#: The key that a command is about.
key_id = click.argument("key_id", type=IdType())


def from_now(duration: timedelta) -> str:
    """Return the moment that is so far ahead, as RFC 3339 in UTC with whole seconds."""
    return (datetime.now(UTC) + duration).strftime("%Y-%m-%dT%H:%M:%SZ")


def ask(question: str, *, agreed: bool) -> None:
    """Go on only if the user agrees. Where nobody can be asked, the command line is the consent."""
    if not agreed and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)


def _set_url(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        try:
            ctx.ensure_object(Session).url_option = normalized(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None


def _set_ca(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Session).ca = str(Path(value).absolute())


def _set_insecure(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    ctx.ensure_object(Session).insecure |= value


_URL: Final = click.option(
    "--url", metavar="URL", expose_value=False, callback=_set_url, help="The server; else MUSHU_URL, `mushu config`."
)
_CA: Final = click.option(
    "--ca",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    expose_value=False,
    callback=_set_ca,
    help="Trust the certificates in this file instead of the system's.",
)
_INSECURE: Final = click.option(
    "--insecure",
    is_flag=True,
    expose_value=False,
    callback=_set_insecure,
    help="Allow plain http to another machine.",
)
