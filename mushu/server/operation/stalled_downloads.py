"""Ends connections whose client does not take the answer that it asked for.

A thread that streams an answer waits until the client makes room, and the WSGI server knows no deadline for that. The
kernel knows, for each connection, how much it still has to send, and how much has been taken: both are looked at from
time to time, and a connection that stands still, or nearly so, is shut down. The server then ends the request itself.

Only Linux says what is needed here. Elsewhere nothing is watched, and `flask doctor` tells.
"""

import errno
import fcntl
import logging
import socket
import struct
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LOG: Final = logging.getLogger(__name__)
SUPPORTED: Final = sys.platform == "linux"
_DESCRIPTORS: Final = Path("/proc/self/fd")
#: `tcpi_bytes_acked` in `struct tcp_info` (linux/tcp.h): what the other side has received, since the beginning.
_BYTES_ACKED: Final = struct.Struct("=120xQ")
_THROW_AWAY: Final = struct.pack("ii", 1, 0)
#: How often one deadline is looked at.
_LOOKS: Final = 6

Connection = tuple[str, ...]


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
        self._seen: dict[Connection, Progress] = {}

    def start(self) -> None:
        """Watch from now on, in a thread that does not outlive the process."""
        if SUPPORTED:
            threading.Thread(target=self._run, name="stalled connections", daemon=True).start()

    def look(self, now: float) -> int:
        """Look at all connections once, end those that stand still for too long, and return how many."""
        seen: dict[Connection, Progress] = {}
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

    def _name(self, descriptor: int, connection: socket.socket) -> Connection | None:
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
