"""`flask db`: Flask-Migrate's own commands, and the copy of a database to another one."""

from typing import Any

import click
from flask.cli import ScriptInfo
from flask_migrate import Migrate
from flask_migrate.cli import db as of_flask_migrate  # type: ignore[import-not-found]

from mushu.server.commands.common import database_at_hand, entered
from mushu.server.commands.operation import copy
from mushu.server.core import MIGRATIONS
from mushu.server.core import db as database


class MigrationGroup(click.Group):
    """A group whose commands have the app of Flask; their errors say what to do and exit with 1, as all others do."""

    def invoke(self, ctx: click.Context) -> Any:
        with entered(ctx), database_at_hand():
            app = ctx.ensure_object(ScriptInfo).load_app()
            Migrate(app, database, directory=str(MIGRATIONS), render_as_batch=True)
            return super().invoke(ctx)


db = MigrationGroup(
    of_flask_migrate.name,
    commands=of_flask_migrate.commands,
    callback=of_flask_migrate.callback,
    params=of_flask_migrate.params,
    help=of_flask_migrate.help,
)
db.add_command(copy)
