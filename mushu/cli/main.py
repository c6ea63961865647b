"""The tree of commands, and how a run of one ends: 0 done, 1 failed, 2 the command line is wrong."""

import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from mushu import process
from mushu.cli.errors import fault_of_ours, fault_of_the_machine
from mushu.cli.output import colour, print_error
from mushu.cli.session import Session
from mushu.lazy_group import LazyGroup
from mushu.printing import NotPrinted, use_missing_streams

_FAILED: Final = 1
_INTERRUPTED: Final = 130

_COMMANDS: Final = {
    "auth": "mushu.cli.commands.auth:auth",
    "org": "mushu.cli.commands.orgs:org",
    "api-key": "mushu.cli.commands.api_keys:api_key",
    "tenant": "mushu.cli.commands.tenants:tenant",
    "device": "mushu.cli.commands.devices:device",
    "push": "mushu.cli.commands.push:push",
    "media": "mushu.cli.commands.media:media",
    "audit": "mushu.cli.commands.audit:audit",
    "open": "mushu.cli.commands.pages:open_",
    "config": "mushu.cli.commands.config:config",
    "completion": "mushu.cli.commands.config:completion",
}


class Root(LazyGroup):
    """Closes what a command opened."""

    modules = _COMMANDS

    def invoke(self, ctx: click.Context) -> Any:
        ctx.color = colour()
        session = ctx.ensure_object(Session)
        try:
            return super().invoke(ctx)
        finally:
            session.close()


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mushu", message="%(prog)s %(version)s")
def cli() -> None:
    """Mushu: API keys that go straight to where they are used.

    \b
    mushu auth login
    mushu api-key create --name backend-server --to env:.env
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. What fails is told without a traceback, which could show a secret."""
    process.harden()
    use_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the terminal has no letters for must not end the command
            stream.reconfigure(errors="backslashreplace")
    try:
        code = cli.main(arguments, prog_name="mushu", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        _print_usage(error)
        print_error(" ".join(error.format_message().split()))  # Click breaks some of its sentences into lines
        return error.exit_code
    except NotPrinted as error:
        if not error.hung_up:
            print_error(error.message)
        return error.exit_code
    except click.ClickException as error:
        print_error(error.format_message())
        return error.exit_code
    except click.Abort:
        click.echo("Aborted.", err=True)
        return _INTERRUPTED
    except Exception as error:
        print_error(fault_of_the_machine(error) or fault_of_ours(error))
        return _FAILED
    return code if isinstance(code, int) else 0


def _print_usage(error: click.UsageError) -> None:
    if error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
        click.echo(f"`{error.ctx.command_path} --help` says more.\n", err=True)


if __name__ == "__main__":
    main()
