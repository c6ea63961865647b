"""Bringing the schema up to date. Needs the core's app context."""

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from flask_migrate import upgrade

from mushu.server.core import MIGRATIONS, db
from mushu.server.errors import ConfigurationError


def pending_migrations() -> list[str]:
    """Return the ids of the migrations that the database lacks, oldest first.

    Raises:
        ConfigurationError: the database knows migrations that this code does not.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with db.engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_heads()
    try:
        missing = list(ScriptDirectory.from_config(config).iterate_revisions("heads", current or "base"))
    except RevisionError:
        raise ConfigurationError(
            "This database was made by a newer Mushu. Update the code, or restore a backup of the instance folder."
        ) from None
    return [script.revision for script in reversed(missing) if script.revision not in current]


def migrate() -> bool:
    """Apply what the database lacks; tell whether it lacked anything."""
    if not pending_migrations():
        return False
    upgrade(directory=str(MIGRATIONS))
    return True
