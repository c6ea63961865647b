"""Serves the application with Granian; Ctrl-C and SIGTERM end it cleanly, and no worker outlives the main process.

Granian's workers know nothing of their parent: killed by force, or by the kernel for want of memory, it would leave
them with the port, and nobody to end them. Here each of them waits, in a thread, for the end of a pipe whose other end
the main process alone holds. The pipe ends however the main process does, on every system, and also where a worker
listens for it later.

A thread that streams an answer waits until the client makes room, and Granian knows no deadline for that. The kernel
knows, for each connection, how much it still has to send, and how much has been taken: both are looked at from time to
time, and a connection that stands still, or nearly so, is shut down. Granian then ends the request itself. Only Linux
says what is needed here. Elsewhere nothing is watched, and `flask doctor` tells.
"""

import errno
import fcntl
import gc
import logging
import os
import resource
import signal
import socket
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, TypeAlias

from mushu.server.config import Settings
from mushu.server.errors import ConfigurationError
from mushu.server.operation import listeners, requests
from mushu.server.postgresql_waits import bound_waits

_LOG: Final = logging.getLogger(__name__)
#: Seconds that requests under way have to come to their end, once a worker was told to end.
GRACE: Final = 10
#: Connections that one worker holds at once; further ones wait in the kernel, which keeps as many again.
MOST_CONNECTIONS: Final = 4_096
#: Descriptors of one worker for all else: files, database, pipes.
_OTHER_DESCRIPTORS: Final = 512

SUPPORTED: Final = sys.platform == "linux"
_DESCRIPTORS: Final = Path("/proc/self/fd")
#: `tcpi_bytes_acked` in `struct tcp_info` (linux/tcp.h): what the other side has received, since the beginning.
_BYTES_ACKED: Final = struct.Struct("=120xQ")
_THROW_AWAY: Final = struct.pack("ii", 1, 0)
#: How often one deadline is looked at.
_LOOKS: Final = 6

ConnectionName: TypeAlias = tuple[str, ...]


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


def serve(settings: Settings, load: Callable[[], Any]) -> None:
    """Serve until a signal ends it. Workers read their settings from the environment, as this process did.

    Args:
        load: returns the application, in each worker; a function of a module, so that a worker that is not forked but
            started anew, as on macOS, finds it by its name.
    """
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings

    takes_over = requests.can_be_taken_over()
    if not takes_over:
        _LOG.warning("this Granian is not known: its threads answer all requests, which costs twice as much")
    connections = room_for_connections()
    watch = StalledConnections(settings.port, settings.stall_seconds, settings.slowest_bytes_a_second)
    ended, alive = Pipe(duplex=False)
    Granian(
        "mushu",
        address=bindable_address(settings),
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=settings.workers,
        # One listens; each of the others has a body, or rests (operation/listeners.py).
        blocking_threads=settings.body_threads + (1 if takes_over else settings.threads + settings.transfers),
        blocking_threads_idle_timeout=listeners.IDLE,
        # A connection that says nothing has a deadline only where it need not be asked which protocol it speaks.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=settings.idle_seconds * 1_000),
        backlog=MOST_CONNECTIONS,
        backpressure=connections,
        websockets=False,
        log_dictconfig=_LOGGING,
        respawn_failed_workers=True,
        workers_kill_timeout=GRACE,
    ).serve(
        target_loader=partial(load_in_worker, ended, alive, watch, load, settings if takes_over else None),
        wrap_loader=False,
    )


def room_for_connections() -> int:
    """Return how many connections a worker may hold, having asked the system for as many descriptors as it gives."""
    wanted = MOST_CONNECTIONS + _OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    given = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < given:
        resource.setrlimit(resource.RLIMIT_NOFILE, (given, hard))
    return max(given - _OTHER_DESCRIPTORS, given // 2)


def load_in_worker(
    ended: Connection,
    alive: Connection,
    watch: "StalledConnections",
    load: Callable[[], Any],
    taking_over: Settings | None = None,
) -> Any:
    """Return the application, in a worker that ends from now on when its main process does.

    Args:
        ended, alive: the two ends of a pipe; of the second, the worker has a copy, which is not to keep it open.
        watch: looks at the connections of the worker.
        taking_over: given, requests are answered as `requests.py` says; None: by Granian's threads.
    """
    alive.close()
    # Until Granian takes its signals, a forked worker has those of the main process, and would pass over the news.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(ended,), name="main process", daemon=True).start()
    watch.start()
    bound_waits()
    if taking_over is not None:
        requests.take_over(taking_over)
    application = load()
    # What the application is made of is there until the end. A look through all of it would stop the worker for 100 ms.
    gc.freeze()
    return application


def _end_with(ended: Connection) -> None:
    """Wait for the main process to end, then end this one as that would have: with grace first, then without."""
    ended.poll(None)
    _LOG.error("the main process has ended; so does this worker")
    # To the main thread, which waits for it: a signal that another one takes would not wake it.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a connection was when it was last seen to move."""

    since: float
    acknowledged: int


class StalledConnections:
    """Watches this process's connections to one port.

    Args:
        patience: seconds for which an answer may stand still.
        bytes_a_second: the least that a client must take.
    """

    def __init__(self, port: int, patience: float, bytes_a_second: int) -> None:
        self._port = port
        self._patience = patience
        self._least = patience * bytes_a_second
        self._seen: dict[ConnectionName, Progress] = {}

    def start(self) -> None:
        """Watch from now on, in a thread that does not outlive the process."""
        if SUPPORTED:
            threading.Thread(target=self._run, name="stalled connections", daemon=True).start()

    def look(self, now: float) -> int:
        """Look at all connections once, end those that stand still for too long, and return how many."""
        seen: dict[ConnectionName, Progress] = {}
        ended = 0
        for descriptor in _sockets():
            with suppress(OSError), _borrowed(descriptor) as connection:
                name = self._name(descriptor, connection)
                if name is None or not _unsent(descriptor):
                    continue  # not ours, or nothing is waited for
                progress = Progress(now, _acknowledged(connection))
                known = self._seen.get(name, progress)
                if progress.acknowledged - known.acknowledged >= self._least:
                    known = progress
                if now - known.since >= self._patience:
                    # What was not taken is thrown away with it, or the kernel would keep it for minutes.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _THROW_AWAY)
                    connection.shutdown(socket.SHUT_RDWR)
                    ended += 1
                else:
                    seen[name] = known
        self._seen = seen
        return ended

    def _run(self) -> None:
        while True:
            time.sleep(self._patience / _LOOKS)
            try:
                ended = self.look(time.monotonic())
            except Exception:
                _LOG.exception("connections cannot be looked at")
                continue
            if ended:
                _LOG.warning("connections were ended whose clients did not take their answers", extra={"count": ended})

    def _name(self, descriptor: int, connection: socket.socket) -> ConnectionName | None:
        """Return what no other connection is called, or None if this is none of the server."""
        if connection.type != socket.SOCK_STREAM or connection.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        if connection.getsockname()[1] != self._port:
            return None
        return (str((_DESCRIPTORS / str(descriptor)).readlink()), *map(str, connection.getpeername()))


def _sockets() -> Iterator[int]:
    for entry in _DESCRIPTORS.iterdir():
        with suppress(OSError):  # closed meanwhile
            if str(entry.readlink()).startswith("socket:"):
                yield int(entry.name)


@contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket]:
    """Provide a socket of the server, which stays the server's: it is neither copied nor closed here.

    Closing a copy of a descriptor that has become a file meanwhile would take SQLite's locks away.
    """
    connection = socket.socket(fileno=descriptor)
    try:
        yield connection
    finally:
        connection.detach()


def _unsent(descriptor: int) -> int:
    """Return how many bytes of the answer the kernel keeps, sent or not, until they are acknowledged."""
    return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def _acknowledged(connection: socket.socket) -> int:
    told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
    if len(told) < _BYTES_ACKED.size:
        raise OSError(errno.ENOTSUP, "the kernel does not say how much was acknowledged")
    acknowledged: int = _BYTES_ACKED.unpack(told)[0]
    return acknowledged
