"""The `mushu` command: a client of the HTTP API, for a developer at a terminal.

It imports Click when it starts and everything else (httpx, platformdirs, destination plugins) only in the command that
needs it, so that `mushu --help` and completion answer at once. It never imports the server, Flask or SQLAlchemy, and
meets destination plugins by entry point, never by name.

Read on in `main.py` (the tree of commands, how a run ends), `session.py` (which server, organization and login),
`api.py` (one request), `delivery.py` (a key that is put into a place of this machine unseen), and docs/cli.md.
"""
