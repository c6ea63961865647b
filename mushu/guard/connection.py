"""How Mushu is asked about one key: over connections that are kept, within a time, and with no redirect followed.

A question counts as a request of the key, so it is asked again in one case only: a connection that was kept is lost
before the head of an answer is there. Nobody can tell whether the server closed it before, or lost an answer
(`docs/decisions/0031-asked-again-where-nothing-was-answered.md`). What was closed earlier is seen before a question.

Each process has connections of its own, also after a fork: two that shared one could read each other's answers.
"""

import json
import logging
import os
import ssl
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from selectors import EVENT_READ, DefaultSelector
from typing import Final
from urllib.parse import urlsplit

from mushu.address import is_plain
from mushu.environment import Environment
from mushu.guard.answer import BadAnswer, VerifiedKey, read_answer, undecided
from mushu.secret import Secret

_LOG: Final = logging.getLogger("mushu.guard")
_PATH: Final = "/api-keys/verify"
#: Bytes of an answer about one key, and connections that are kept.
_MOST_BYTES: Final = 65_536
_MOST_IDLE: Final = 32
#: A connection ended: closed or reset, or its TLS was closed.
_LOST: Final = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class _LostBeforeAnswer(Exception):
    """The connection was lost before the head of an answer was there."""


class _IdleConnections:
    """Connections of one process that wait for the next question; the ends of a deque are safe between threads."""

    def __init__(self) -> None:
        self.process_id = os.getpid()
        self.idle: deque[HTTPConnection] = deque()

    def take(self) -> HTTPConnection | None:
        """Return a connection that is still open, as far as can be seen from here; those that are not are closed."""
        while True:
            try:
                connection = self.idle.pop()
            except IndexError:
                return None
            if not _is_closed(connection):
                return connection
            connection.close()


@dataclass(slots=True)
class MushuConnection:
    """One server and the key that the service asks it with; any number of threads may ask at once."""

    url: str
    key: Secret
    #: That of the key.
    environment: Environment
    timeout: float
    _pool: _IdleConnections = field(default_factory=_IdleConnections)
    _tls: ssl.SSLContext | None = None

    def ask(self, key: Secret, scope: str | None, address: str | None) -> VerifiedKey:
        """Ask about a key.

        Args:
            scope: what it must have; None: nothing.
            address: of the client that sent it; None where that is not known.

        Raises:
            RequestDenied: it does not pass, or nobody can say.
        """
        asked = {"key": key.reveal(), "scope": scope, "client_address": address}
        content = json.dumps({name: value for name, value in asked.items() if value is not None}).encode()
        try:
            return read_answer(self._answer_to(content), scope, self.environment)
        except BadAnswer as error:
            reason = str(error)
        except (OSError, HTTPException) as error:
            reason = type(error).__name__  # its text may hold what a stranger sent
        _LOG.error("Mushu at %s cannot be asked, so nothing passes: %s.", self.url, reason)
        raise undecided()

    def close(self) -> None:
        """Close the connections of this process; the next question opens others."""
        before, self._pool = self._here(), _IdleConnections()
        while before.idle:
            before.idle.pop().close()

    def _here(self) -> _IdleConnections:
        if self._pool.process_id != os.getpid():
            self._pool = _IdleConnections()  # what was inherited is the parent's, and stays open for it
        return self._pool

    def _answer_to(self, content: bytes) -> bytes:
        """Return the answer; a connection that was closed while it waited is replaced.

        Raises:
            BadAnswer, OSError, HTTPException: there is none.
        """
        pool = self._here()
        waiting = pool.take()
        if waiting is not None:
            with suppress(_LostBeforeAnswer):
                return self._exchange(pool, waiting, content)
        try:
            return self._exchange(pool, self._opened(), content)
        except _LostBeforeAnswer:
            raise BadAnswer("it closed the connection without an answer") from None

    def _exchange(self, pool: _IdleConnections, connection: HTTPConnection, content: bytes) -> bytes:
        end, is_kept = time.monotonic() + self.timeout, False
        try:
            response = self._head_of_answer(connection, content)
            if response.status != HTTPStatus.OK:
                raise BadAnswer(_explained(response.status))
            answer = b""
            while part := response.read1(_MOST_BYTES):
                answer += part
                if len(answer) > _MOST_BYTES or time.monotonic() > end:
                    raise BadAnswer("the answer is too long, or too slow")
            is_whole = response.isclosed() or response.length == 0
            is_kept = is_whole and not response.will_close and len(pool.idle) < _MOST_IDLE
            response.close()
            return answer
        finally:
            if is_kept and pool is self._pool:
                pool.idle.append(connection)
            else:
                connection.close()

    def _head_of_answer(self, connection: HTTPConnection, content: bytes) -> HTTPResponse:
        if connection.sock is None:
            connection.connect()
        try:
            connection.request("POST", f"{urlsplit(self.url).path}{_PATH}", content, self._headers())
            return connection.getresponse()
        except _LOST:
            raise _LostBeforeAnswer from None

    def _headers(self) -> dict[str, str]:
        credential = f"ApiKey {self.key.reveal()}"
        return {"Authorization": credential, "Content-Type": "application/json", "User-Agent": "mushu-guard"}

    def _opened(self) -> HTTPConnection:
        """Return a new connection, by no proxy and with the certificate verified."""
        parts = urlsplit(self.url)
        if is_plain(self.url):
            return HTTPConnection(parts.hostname or "", parts.port, timeout=self.timeout)
        if self._tls is None:
            self._tls = ssl.create_default_context()
            if not os.environ.get("SSL_CERT_FILE") and not os.environ.get("SSL_CERT_DIR"):
                import certifi  # for a Python that was built without the system's certificates

                self._tls.load_verify_locations(certifi.where())
        return HTTPSConnection(parts.hostname or "", parts.port, timeout=self.timeout, context=self._tls)


def _is_closed(connection: HTTPConnection) -> bool:
    """Tell whether the server closed a connection that waits, or said there what nobody asked: both can be read."""
    with DefaultSelector() as selector:
        selector.register(connection.sock, EVENT_READ)
        return bool(selector.select(0))


def _explained(status: int) -> str:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"it answers {status}; give the guard an API key that is good and has the scope `read`"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"it answers {status}; name the address that this leads to, because no redirect is followed"
    return f"it answers {status}"
