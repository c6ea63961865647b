"""`flask doctor`: looks at what can be wrong with a server, and says how to repair it.

`machine_checks.py` looks at the machine and the settings, `database_checks.py` at what is stored.
"""

from collections.abc import Callable, Iterator
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from mushu.server.config import Settings
from mushu.server.core import Core, core_context
from mushu.server.errors import ConfigurationError, MushuError
from mushu.server.instance import SECRET_KEY_FILE, instance_path
from mushu.server.operation import database_checks as database
from mushu.server.operation import machine_checks as machine
from mushu.server.operation.machine_checks import Check

LOOKS: Final = (
    machine.permissions, machine.disk, machine.address, machine.client_address, machine.connections, machine.channels,
    machine.plugins, database.schema, database.copies, database.integrity, database.database_connections,
    database.sealing, database.deliveries, database.usage, database.limits, database.journal, database.rotations,
    machine.media,
)  # fmt: skip
#: What reads all of a database, or asks another machine.
_SLOW: Final = (database.integrity, database.sealing, machine.media)


def examine() -> list[Check]:
    """Look at everything; what depends on something that is broken is not looked at."""
    try:
        settings = Settings.as_served()
    except ConfigurationError as error:
        return [Check("settings", False, error.detail)]
    checks = [Check("settings", True, f"read; the instance folder is {settings.instance_path}")]
    if not (settings.instance_path / SECRET_KEY_FILE).exists():
        return [*checks, Check("instance", False, f"{instance_path()} is not set up. Run script/up once.")]
    with core_context(lambda: settings) as core:
        for look in LOOKS:
            checks.extend(_looked_at(look, core))
    return checks


def examine_running(core: Core) -> list[Check]:
    """Look, within a server that runs, at what costs little."""
    return [check for look in LOOKS if look not in _SLOW for check in _looked_at(look, core)]


def _looked_at(look: Callable[[Core], Iterator[Check]], core: Core) -> Iterator[Check]:
    try:
        yield from look(core)
    except (SQLAlchemyError, OSError, MushuError) as error:
        cause = getattr(error, "orig", None) or error
        yield Check(look.__name__, False, f"could not be looked at: {cause}")
