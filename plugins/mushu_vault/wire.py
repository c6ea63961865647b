"""Sockets that cannot be kept busy for ever: an answer that drips is cut off when its time is over.

A timeout of a socket starts anew with every byte, so it alone would not end an answer that comes one byte a second.
"""

import http.client
import io
import socket
import time
from typing import Any, cast

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from mushu_vault.server import Server
from mushu_vault.tls import context_for


class _Stream(io.RawIOBase):
    """What a socket receives until `deadline`."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        super().__init__()
        self._socket = connected
        # Asked for a file, the socket stays open until that is closed, also where the connection is given up before.
        self._file = connected.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Limited:
    """A socket as `http.client.HTTPResponse` sees it; the time for the whole answer begins now."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._deadline = time.monotonic() + (connected.gettimeout() or 0.0)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Stream(self._socket, self._deadline))


class _Response(http.client.HTTPResponse):
    def __init__(self, connected: socket.socket, *arguments: Any, **named: Any) -> None:
        super().__init__(cast("socket.socket", _Limited(connected)), *arguments, **named)


class _Connection(HTTPConnection):
    response_class = _Response


class _EncryptedConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _EncryptedPool(HTTPSConnectionPool):
    ConnectionCls = _EncryptedConnection


class WireAdapter(HTTPAdapter):
    """Connections to one server, never tried twice, trusting what `tls.py` says and nothing else."""

    def __init__(self, server: Server) -> None:
        self._server = server
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        if self._server.is_encrypted:
            named["ssl_context"] = context_for(self._server)
        if self._server.tls_server_name:
            named["server_hostname"] = self._server.tls_server_name
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _EncryptedPool}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the context as it is: what this would add is every public authority."""


def is_printing() -> bool:
    """Tell whether someone had the standard library print every request, bodies and all."""
    return bool(_Connection.debuglevel or _EncryptedConnection.debuglevel)
