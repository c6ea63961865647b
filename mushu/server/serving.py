"""Serves the application with Granian; Ctrl-C and SIGTERM end it cleanly."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from mushu.server.config import Settings
from mushu.server.errors import ConfigurationError

_LOGGING: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "mushu.server.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
    "loggers": {
        "_granian": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "granian.access": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
    },
}


def settings_from(arguments: Sequence[str]) -> Settings:
    """Return the settings, with `--host`, `--port` and `--workers` put into the environment, for workers to find.

    Raises:
        ConfigurationError: they are wrong.
    """
    parser = argparse.ArgumentParser(prog="script/up", description="Set Mushu up where it is new, and serve it.")
    parser.add_argument("--host", help="address to listen on (MUSHU_HOST, 127.0.0.1)")
    parser.add_argument("--port", help="port to listen on (MUSHU_PORT, 8000)")
    parser.add_argument("--workers", help="worker processes (MUSHU_WORKERS, 1)")
    for name, value in vars(parser.parse_args(arguments)).items():
        if value is not None:
            os.environ[f"MUSHU_{name.upper()}"] = value
    return Settings.load()


def main() -> None:
    """Serve until a signal ends it."""
    try:
        settings = settings_from(sys.argv[1:])
    except ConfigurationError as error:
        sys.exit(f"script/up: {error.detail}")
    serve(settings)


def serve(settings: Settings) -> None:
    from granian import Granian
    from granian.constants import Interfaces

    Granian(
        "mushu.server.app:create_app",
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=settings.workers,
        blocking_threads=settings.threads,
        websockets=False,
        log_dictconfig=_LOGGING,
        respawn_failed_workers=True,
        workers_kill_timeout=10,
    ).serve()


if __name__ == "__main__":
    main()
