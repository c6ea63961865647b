"""Connections to Apple: one for each host and team, over which many notifications go side by side.

A client of httpx holds a connection, opens another where one ends, and sends again by itself what Apple says (GOAWAY)
it never looked at. After any other error the client is given up: who still uses it may finish, and the next gets a new
one. All of it runs on one event loop, on a thread of its own. httpx takes long to load, so a process loads it with its
first connection.
"""

import asyncio
import atexit
import os
import ssl
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mushu.address import is_loopback
from mushu.server.resources.notifications.apns import CONNECTION_LOST, TIMEOUT, UNREACHABLE, Answer, read_answer

if TYPE_CHECKING:
    import httpcore
    import httpx

#: Notifications under way on one connection. Apple allows a thousand, httpx no more than a hundred.
_SIDE_BY_SIDE: Final = 90
#: Teams whose connections are kept open.
_MOST_CONNECTIONS: Final = 32
#: Seconds after which an idle connection is not trusted any more: what stands between may have forgotten it.
_IDLE: Final = 300
_CONNECT_SECONDS: Final = 5
#: Of an answer; Apple's have a hundred bytes.
_MOST_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True)
class PushRequest:
    """One notification to one device, ready to be sent."""

    token: str
    headers: Mapping[str, str]
    payload: bytes


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Apple did not answer."""

    reason: str
    #: Whether Apple may have the notification all the same.
    maybe_sent: bool


@dataclass(eq=False)
class _Client:
    http: "httpx.AsyncClient"
    users: int = 0
    given_up: bool = False

    async def give_up(self) -> None:
        """Close it as soon as nobody is on it."""
        self.given_up = True
        if not self.users:
            with suppress(Exception):  # it was broken before
                await self.http.aclose()


class _Watch:
    """Notes whether the payload was begun: before that, Apple has nothing to deliver.

    And closes what httpcore (1.0.9) leaves open: a connection whose TLS handshake is cancelled, not failed.
    """

    def __init__(self) -> None:
        self.began = False
        self._in_handshake: httpcore.AsyncNetworkStream | None = None

    async def __call__(self, event: str, told: Mapping[str, Any]) -> None:
        self.began = self.began or event == "http2.send_request_body.started"
        if event == "connection.connect_tcp.complete":
            self._in_handshake = told["return_value"]
        elif event.startswith("http2.") or event.endswith(".start_tls.complete"):
            self._in_handshake = None  # the client's from here on, and others may be on it

    async def end(self) -> None:
        """Leave nothing open that nobody else closes."""
        if self._in_handshake is not None:
            with suppress(Exception):  # it was broken before
                await self._in_handshake.aclose()


class Connection:
    """The connection to one host for one team."""

    def __init__(self, host: str, tls: ssl.SSLContext) -> None:
        self.room: Final = asyncio.Semaphore(_SIDE_BY_SIDE)
        self.users = 0
        self._host = host
        self._tls = tls
        self._client: _Client | None = None

    async def post(self, request: PushRequest, seconds: float) -> Answer | NoAnswer:
        """Send one notification; an error is returned, not raised."""
        import httpx

        client, watch, sound = self._current(), _Watch(), False
        client.users += 1
        try:
            async with asyncio.timeout(seconds):
                answer, sound = await _ask(client.http, f"{self._host}/3/device/{request.token}", request, watch)
                return answer
        except (TimeoutError, httpx.TimeoutException):
            return NoAnswer(TIMEOUT if watch.began else UNREACHABLE, watch.began)
        except Exception:  # of httpx, httpcore, h2, anyio or TLS: the error of one device is not another's
            return NoAnswer(CONNECTION_LOST if watch.began else UNREACHABLE, watch.began)
        finally:
            await watch.end()
            client.users -= 1
            if not sound:
                self._client = None if self._client is client else self._client
            if not sound or client.given_up:
                await client.give_up()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.give_up()

    def _current(self) -> _Client:
        import httpx

        if self._client is None:
            self._client = _Client(
                httpx.AsyncClient(
                    http1=False,
                    http2=True,
                    verify=self._tls,
                    trust_env=not is_loopback(self._host),  # proxies
                    follow_redirects=False,
                    timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
                    limits=httpx.Limits(max_connections=4, max_keepalive_connections=4, keepalive_expiry=_IDLE),
                    headers={"accept-encoding": "identity"},
                )
            )
        return self._client


class Connections:
    """All connections of this process."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connections: OrderedDict[tuple[str, str], Connection] = OrderedDict()
        self._tls: ssl.SSLContext | None = None
        #: Of a loop that a fork left behind: the sockets are those of the process that forked.
        self._inherited: list[object] = []

    @asynccontextmanager
    async def connection(self, host: str, team_id: str) -> AsyncIterator[Connection]:
        """Provide the connection, as soon as there is room for one more notification on it."""
        connection = self._find(host, team_id)
        connection.users += 1
        try:
            await self._close_idle()
            async with connection.room:
                yield connection
        finally:
            connection.users -= 1

    async def close(self) -> None:
        """Close all connections."""
        connections, self._connections = self._connections, OrderedDict()
        for connection in connections.values():
            await connection.close()

    def _find(self, host: str, team_id: str) -> Connection:
        import httpx

        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._inherited.append(self._connections)
            self._loop, self._connections = loop, OrderedDict()
        if self._tls is None:
            self._tls = httpx.create_ssl_context()  # certifi's authorities, or those of SSL_CERT_FILE
        if (host, team_id) not in self._connections:
            self._connections[host, team_id] = Connection(host, self._tls)
        self._connections.move_to_end((host, team_id))
        return self._connections[host, team_id]

    async def _close_idle(self) -> None:
        """Close what was idle for longest, where there are too many."""
        idle = [name for name, connection in self._connections.items() if not connection.users]
        for name in idle[: max(0, len(self._connections) - _MOST_CONNECTIONS)]:
            await self._connections.pop(name).close()


async def _ask(client: "httpx.AsyncClient", url: str, request: PushRequest, watch: _Watch) -> tuple[Answer, bool]:
    """Return the answer, and whether the connection is good for another request."""
    content, headers = request.payload, dict(request.headers)
    async with client.stream("POST", url, content=content, headers=headers, extensions={"trace": watch}) as response:
        body = b""
        async for part in response.aiter_raw():
            body += part
            if len(body) > _MOST_BYTES:  # left unread, the rest would block a part of the connection
                return read_answer(response.status_code, response.headers, b""), False
        return read_answer(response.status_code, response.headers, body), True


Result = TypeVar("Result")


class BackgroundLoop:
    """An event loop on a thread of its own, for work that threads of requests wait for.

    httpx's connections for threads share one state of HTTP/2 without a lock, and mix up streams when two threads use
    one connection. On one loop only one of them runs at a time. The thread starts with the first call, and again after
    a fork, which copies no thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._process: int | None = None
        #: Of the process that forked: kept, because letting go of it would close what that one still uses.
        self._inherited: list[asyncio.AbstractEventLoop] = []

    def run(self, act: Coroutine[Any, Any, Result]) -> Result:
        """Have it done on the loop, and wait for it."""
        future = asyncio.run_coroutine_threadsafe(act, self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()  # the thread that waited is gone: an interrupt, or its end
            raise

    def close(self) -> None:
        """End the thread, if there is one; the next call would begin another."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = self._process = None
        if loop is None or thread is None:
            return
        atexit.unregister(self.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._process != os.getpid():
                if self._loop is not None:
                    self._inherited.append(self._loop)
                self._process = os.getpid()
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="apns", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            return self._loop
