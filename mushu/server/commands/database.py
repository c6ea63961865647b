import click

from mushu.server.commands.common import AdminGroup
from mushu.server.core import get_core
from mushu.server.operation.upgrading.upgrade import upgrade_with_copy, upgrade_without_copy
from mushu.terminal import printable_lines


@click.group(cls=AdminGroup)
def database() -> None:
    """The database and its schema."""


@database.command("upgrade")
@click.option("--no-copy", is_flag=True, help="Make no copy of the database first.")
def upgrade(no_copy: bool) -> None:
    """Bring the database up to date with this version, after a copy of it was made; script/up does the same."""
    lines = (upgrade_without_copy if no_copy else upgrade_with_copy)(get_core())
    click.echo(printable_lines("\n".join(lines)) or "The database is up to date.")
