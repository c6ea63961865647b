"""`mushu-server`: the commands of an operator, through a door in which the current folder has no say.

`flask` has the same groups, but Flask's own script runs first: it reads `.flaskenv` and `.env` of the current folder,
and for its help and for a mistyped command it loads the app that is there. Here nothing is read but the settings of
the server, and a group is loaded when it is asked for.
"""

import sys
from typing import Final, NoReturn

import click

from mushu.lazy_group import LazyGroup

#: A test compares them with the groups of `flask`.
_COMMANDS: Final = {
    "up": "mushu.server.main:up",
    "database": "mushu.server.commands.operation:database",
    "doctor": "mushu.server.commands.operation:doctor",
    "keys": "mushu.server.commands.keys:keys",
    "destinations": "mushu.server.commands.destinations:destinations",
    "orgs": "mushu.server.commands.orgs:orgs",
    "members": "mushu.server.commands.members:members",
    "users": "mushu.server.commands.users:users",
    "tokens": "mushu.server.commands.tokens:tokens",
    "sealing": "mushu.server.commands.operation:sealing",
}


class Door(LazyGroup):
    """The commands of the server."""

    modules = _COMMANDS


@click.group(cls=Door)
@click.version_option(package_name="mushu", message="%(prog)s %(version)s")
def server() -> None:
    """Mushu's server. Reads no file of the current folder; `flask` has the same commands."""


@click.command("up", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def up(arguments: tuple[str, ...]) -> None:
    """Set Mushu up where it is new, and serve it; --help says more."""
    from mushu.server import up as serving  # the web is loaded by who serves it

    serving.main(arguments, program="mushu-server up")


def main() -> NoReturn:
    """Run one command and exit."""
    sys.exit(server(prog_name="mushu-server"))
