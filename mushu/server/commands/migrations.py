"""`flask db`: Flask-Migrate's own commands, and the copy of a database to another one."""

from flask_migrate.cli import db  # type: ignore[import-not-found]

from mushu.server.commands.operation import copy

db.add_command(copy)

__all__ = ["db"]
