"""The page about all commands, written from their own help: `script/document-commands`."""

from collections.abc import Iterator
from typing import Final

import click

from mushu.server.commands.common import HELP
from mushu.server.main import COMMANDS

_INTRODUCTION: Final = """\
# Commands

What an operator does on the server, with `.venv` activated. `mushu-server` has each of these commands, too:
`mushu-server keys create …` is `flask keys create …`. Use it in a folder that you do not trust, and for timers: it
reads no file of the current folder. Flask's own script reads `.flaskenv` and `.env`, and for `flask --help` loads the
app that is there. The commands below take back what such a file said; where it sets up the server, they stop.
`mushu-server up` does what `script/up` does, once Mushu is installed.

`ORG` is an id or an exact name; `[ORG]` may be left out for `MUSHU_ORG_ID`, or the only one. What is created or changed
is answered as JSON on standard output, lists are tables; errors go to standard error and say what to do. Exit status:
0 done, 1 failed, 2 the command line is wrong.
"""


def manual() -> str:
    """Return the page as Markdown."""
    found = (pair for group in COMMANDS for pair in _walk(f"flask {group.name}", group.loaded))
    return "\n".join([_INTRODUCTION, *(_section(path, command) for path, command in found)])


def _walk(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _walk(f"{path} {name}", command.commands[name])
    else:
        yield path, command


def _section(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100, **HELP)
    return f"## {path}\n\n```\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    click.echo(manual(), nl=False)
