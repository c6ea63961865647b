"""What a WSGI server loads, and what `flask` finds by its name."""

import click
from flask import Flask
from flask.cli import FlaskGroup

context = click.get_current_context(silent=True)
if context is not None and isinstance(context.command, FlaskGroup):
    # `flask --help`, or a command that is mistyped: `flask` only asks which commands the app has, and it has none.
    app = Flask("mushu")
else:
    from mushu.lazy_group import loading

    with loading():
        from mushu.server.app import create_app

        app = create_app()
