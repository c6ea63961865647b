import click

from mushu.server.commands.common import AdminGroup, ask, operator, print_json, yes
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.errors import SealingFailed
from mushu.server.sealing import rows


@click.group(cls=AdminGroup)
def sealing() -> None:
    """The keys that encrypt what must be read back, such as the settings of destinations."""


@sealing.command("status")
def status() -> None:
    """Show where the keys are, how many values they seal, and whether all of these open; exit 3 if not."""
    keys = get_core().sealing_keys
    with reading(db.session):
        sealed = list(rows.sealed_values(db.session))
        faults = rows.faults(db.session, keys)
    try:
        key_ids = [key.id for key in keys.load().keys] if keys.exist() else []
    except SealingFailed:  # said among the faults, or nothing needs them
        key_ids = []
    print_json({"file": str(keys.path), "keys": key_ids, "values": len(sealed), "faults": faults})
    if faults:
        raise click.exceptions.Exit(3)


@sealing.command("rotate")
def rotate() -> None:
    """Encrypt everything anew with a new key, and drop the old ones; safe to be killed at any moment."""
    core = get_core()
    count = rows.rotate(db.session, core.clock, operator(), core.sealing_keys)
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
