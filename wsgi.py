"""What a WSGI server loads, and what `flask` finds by its name."""

from mushu.server.app import create_app

app = create_app()
