"""`mushu-server`, the commands of an operator through a door in which the current folder has no say; and their table.

`flask` has the same groups, but Flask's own script runs first: it reads `.flaskenv` and `.env` of the current folder,
and for its help and for a mistyped command it loads the app that is there. Here nothing is read but the settings of
the server. For both, a group is a name and a sentence until it is used: `flask` loads all that it finds at every start.
"""

import sys
from typing import Final, NoReturn

import click

from mushu.lazy_group import LazyCommand
from mushu.server.machine_faults import explained

_PLACE: Final = "mushu.server.commands"

# A test compares the sentences with those of the groups themselves.
keys = LazyCommand("keys", f"{_PLACE}.keys:keys", "API keys: mint them, and put them straight where they are used.")
destinations = LazyCommand(
    "destinations",
    f"{_PLACE}.destinations:destinations",
    "Destinations with a name: the only places that keys are delivered to over HTTP.",
)
orgs = LazyCommand("orgs", f"{_PLACE}.orgs:orgs", "Organizations. ORG is an id or an exact name.")
members = LazyCommand(
    "members",
    f"{_PLACE}.members:members",
    "Who belongs to an organization. ORG is an id or an exact name; if left out, MUSHU_ORG_ID or the only one.",
)
policies = LazyCommand(
    "policies", f"{_PLACE}.policies:policies", "Policies: what the gate asks on behalf of other services."
)
users = LazyCommand("users", f"{_PLACE}.users:users", "People who can sign in.")
tokens = LazyCommand("tokens", f"{_PLACE}.users:tokens", "CLI tokens: who is signed in at a terminal.")
audit = LazyCommand("audit", f"{_PLACE}.audit:audit", "The audit trail: who changed what, and when.")
sealing = LazyCommand(
    "sealing",
    f"{_PLACE}.operation:sealing",
    "The keys that encrypt what must be read back, such as the settings of destinations.",
)
database = LazyCommand("database", f"{_PLACE}.operation:database", "The database and its schema.")
doctor = LazyCommand("doctor", f"{_PLACE}.operation:doctor", "Say what is wrong with this server, and how to mend it.")

#: For `flask` only. As a command of the app, `flask --help` would have to make the app to find it.
db = LazyCommand("db", f"{_PLACE}.migrations:db", "Perform database migrations.")

#: In the order of their chapters in the manual.
COMMANDS: Final = (keys, destinations, orgs, members, policies, users, tokens, audit, sealing, database, doctor)


@click.group(commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mushu", message="%(prog)s %(version)s")
def server() -> None:
    """Mushu's server. Reads no file of the current folder; `flask` has the same commands."""


@server.command("up", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def up(arguments: tuple[str, ...]) -> None:
    """Set Mushu up where it is new, and serve it; --help says more."""
    from mushu.server import up as serving  # the web is loaded by who serves it

    serving.main(arguments, program="mushu-server up")


def main() -> NoReturn:
    """Run one command and exit."""
    try:
        sys.exit(server(prog_name="mushu-server"))
    except (OSError, ModuleNotFoundError) as error:
        sentence = explained(error)
        if sentence is None:
            raise
        sys.exit(f"mushu-server: {sentence}")
