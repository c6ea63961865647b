"""The `mushu` command: a client of the HTTP API, for a developer at a terminal.

`main.py` has the tree of commands and ends a run. `commands/` has one noun a file, `client/` asks the server, and
`delivery.py` puts a key into a destination of this machine. The other modules are what these share.

Click is imported when the command starts. Everything else (httpx, platformdirs, destination plugins) is imported in the
command that needs it, so that `mushu --help` and completion answer at once. Nothing here may import the server, Flask,
SQLAlchemy or the SDK, and plugins are found by entry point, never named.
"""
