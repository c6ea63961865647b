"""`flask doctor`, `flask database` and `flask sealing`: what an operator does to keep the server running."""

import click

from mushu.server.commands.common import HELP, AdminGroup, CorelessCommand, ask, operator, yes
from mushu.server.commands.printing import as_json, note, print_json, print_table
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.errors import SealingFailed
from mushu.server.operation.copied_rows import shown
from mushu.server.operation.database_copy import copy_database
from mushu.server.operation.doctor import examine
from mushu.server.operation.upgrading.upgrade import upgrade_with_copy, upgrade_without_copy
from mushu.server.sealing import faults, replace_keys, sealed_values
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


@database.command("copy", cls=CorelessCommand)
@click.option("--from", "source", required=True, metavar="URL", help="The database to copy; its server is stopped.")
@click.option("--to", "target", required=True, metavar="URL", help="An empty database, or a copy that was cut off.")
def copy(source: str, target: str) -> None:
    """Copy a database to another one, such as SQLite's to PostgreSQL, and compare every row; killed, run it again."""
    tables = copy_database(source, target, note)
    print_table(["table", "rows", "sha256"], [[table.name, str(table.rows), table.digest] for table in tables])
    note(f"All rows are the same. Name the copy in MUSHU_DATABASE_URL, and start no server on {shown(source)} again.")


@click.command("doctor", cls=CorelessCommand, context_settings=HELP)
@as_json
def doctor(as_json: bool) -> None:
    """Say what is wrong with this server, and how to mend it."""
    checks = examine()
    if as_json:
        print_json([{"check": check.name, "ok": check.ok, "detail": check.detail} for check in checks])
    else:
        for check in checks:
            click.echo(printable_lines(f"{'ok  ' if check.ok else 'BAD '} {check.name}: {check.detail}"))
    if not all(check.ok for check in checks):
        raise click.exceptions.Exit(1)


@click.group(cls=AdminGroup)
def sealing() -> None:
    """The keys that encrypt what must be read back, such as the settings of destinations."""


@sealing.command("status")
def status() -> None:
    """Show where the keys are, how many values they seal, and whether all of these open; exit 3 if not."""
    keys = get_core().sealing_keys
    with reading(db.session):
        sealed = list(sealed_values(db.session))
        broken = faults(db.session, keys)
    try:
        key_ids = [key.id for key in keys.load().keys] if keys.exist() else []
    except SealingFailed:  # said among the faults, or nothing needs them
        key_ids = []
    print_json({"file": str(keys.path), "keys": key_ids, "values": len(sealed), "faults": broken})
    if broken:
        raise click.exceptions.Exit(3)


@sealing.command("rotate")
def rotate() -> None:
    """Encrypt everything anew with a new key, and drop the old ones; safe to be killed at any moment."""
    core = get_core()
    count = replace_keys(db.session, core.clock, operator(), core.sealing_keys)
    print_json({"file": str(core.sealing_keys.path), "keys": [core.sealing_keys.load().keys[0].id], "values": count})


@sealing.command("begin-anew")
@yes
def begin_anew(yes: bool) -> None:
    """Make a new file of keys where it was lost for good; what was sealed must then be entered again."""
    keys = get_core().sealing_keys
    if keys.exist():
        raise click.UsageError(f"{keys.path} exists. Move it away first, and keep it: it may open what is sealed.")
    ask("Is there no backup of the sealing keys? What they seal will have to be entered again.", agreed=yes)
    keys.begin()
    status.callback()  # type: ignore[misc]
