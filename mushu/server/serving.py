"""Serves the application with Granian; Ctrl-C and SIGTERM end it cleanly."""

import logging
import socket
from typing import Any, Final

from mushu.server.config import Settings
from mushu.server.errors import ConfigurationError


class IntendedThreads(logging.Filter):
    """Keeps Granian from warning at every start that there are more threads than cores.

    There are, because those of transfers wait for the network, and the work that does not wait is bounded elsewhere.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Configuration allows spawning up to")


_LOGGING: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "mushu.server.logs.JsonFormatter"}},
    "filters": {"intended": {"()": IntendedThreads}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
    "loggers": {
        "_granian": {"handlers": ["stderr"], "filters": ["intended"], "level": "INFO", "propagate": False},
        "granian.access": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
    },
}


def bindable_address(settings: Settings) -> str:
    """Return the IP address of `settings.host`, having made sure that its port can be listened on.

    Raises:
        ConfigurationError: the host is not one of this machine, or the port is taken or reserved.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f"Port {settings.port} of {settings.host} cannot be listened on ({error.strerror}). "
            "Choose another with --host and --port."
        ) from None
    return str(address[0])


def serve(settings: Settings) -> None:
    """Serve until a signal ends it. Workers read their settings from the environment, as this process did."""
    from granian import Granian
    from granian.constants import Interfaces

    Granian(
        "mushu.server.app:create_app",
        factory=True,
        address=bindable_address(settings),
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=settings.workers,
        # A transfer holds a thread for as long as its client takes; these are there for the rest.
        blocking_threads=settings.threads + settings.transfers,
        websockets=False,
        log_dictconfig=_LOGGING,
        respawn_failed_workers=True,
        workers_kill_timeout=10,
    ).serve()
