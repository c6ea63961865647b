"""The guard itself: around a WSGI or an ASGI application, or around one function that gets a request."""

import inspect
import math
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

from mushu.environment import Environment
from mushu.guard.answer import SCOPES, RequestDenied
from mushu.guard.connection import MushuConnection
from mushu.guard.request import Carrier, carrier_among, checked_source
from mushu.guard.verification import Verifier
from mushu.keyformat import Prefix
from mushu.sdk import BadCredential, prefix_of, server_address
from mushu.secret import Secret

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
AsgiApplication: TypeAlias = Callable[[Carrier, Callable[[], Awaitable[Any]], Send], Awaitable[None]]
_Function = TypeVar("_Function", bound=Callable[..., Any])

#: What ASGI calls an answer, by what is asked. A server that cannot refuse a WebSocket in this way closes it.
_ANSWERS: Final = {"http": "http.response", "websocket": "websocket.http.response"}
_POLICY_VIOLATION: Final = 1008  # RFC 6455, section 7.4.1


class Guard:
    """Lets requests pass whose API key is good.

    Args:
        url: the address of Mushu; left out, it is MUSHU_CORE_URL or MUSHU_URL.
        key: an API key with `read`. Keys of its organization and environment pass, and no others.
        scope: what each key must have; None: it only has to be good.
        max_age: seconds for which a good answer is remembered. 0 asks about each request, so that a key that was
            deleted is refused on the next one.
        timeout: seconds to wait for each step of an answer; then nothing passes.
        client_address: where the client's address is, for the usage of its key and for keys that are bound to
            networks: `PEER`, or the header that the proxy sets; None tells none.

    Raises:
        mushu.sdk.BadAddress, mushu.sdk.BadCredential, ValueError: one of them cannot be used.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str,
        scope: str | None = None,
        max_age: float = 0,
        timeout: float = 3,
        client_address: str | None = None,
    ) -> None:
        prefix = prefix_of(key)
        if prefix is Prefix.CLI_TOKEN:
            raise BadCredential("A guard asks with an API key, msk_live_… or msk_test_…, and not with a CLI token.")
        if not (0 <= max_age < math.inf and 0 < timeout < math.inf):
            raise ValueError("max_age is a number of seconds from 0 on, and timeout one above 0.")
        environment = Environment.TEST if prefix is Prefix.TEST_KEY else Environment.LIVE
        connection = MushuConnection(server_address("core", url), Secret(key), environment, timeout)
        self._verifier = Verifier(connection, max_age, checked_source(client_address))
        self._scope = _known(scope) if scope is not None else None

    def wsgi(self, app: "WSGIApplication") -> "WSGIApplication":
        """Return the application, behind this guard."""

        def guarded(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
            try:
                self._verifier.admit(environ, self._scope)
                return app(environ, start_response)
            except RequestDenied as denied:  # by `requires`, too, where the framework hands it on
                start_response(f"{denied.status} {denied.status.phrase}", denied.headers, sys.exc_info())
                return [] if environ.get("REQUEST_METHOD") == "HEAD" else [denied.body]

        return guarded

    def asgi(self, app: AsgiApplication) -> AsgiApplication:
        """Return the application, behind this guard: requests and WebSockets."""

        async def guarded(scope: Carrier, receive: Callable[[], Awaitable[Any]], send: Send) -> None:
            if scope["type"] != "lifespan":
                try:
                    await self._verifier.admit_soon(scope, self._scope)
                except RequestDenied as denied:
                    await _answer(scope, send, denied)
                    return
            await app(scope, receive, send)

        return guarded

    def requires(self, scope: str, request: Callable[[], Any] | None = None) -> Callable[[_Function], _Function]:
        """Return a decorator for a function that gets a request, which raises `RequestDenied` where it may not pass.

        Args:
            request: returns the request, where it is no argument of the function.
        """
        wanted = _known(scope)

        def carrier(given: Iterable[Any]) -> Carrier:
            return carrier_among([request()] if request is not None else given)

        def decorate(function: _Function) -> _Function:
            if inspect.iscoroutinefunction(function):

                @wraps(function)
                async def guarded_soon(*given: Any, **named: Any) -> Any:
                    await self._verifier.admit_soon(carrier([*given, *named.values()]), wanted)
                    return await function(*given, **named)

                return cast(_Function, guarded_soon)

            @wraps(function)
            def guarded(*given: Any, **named: Any) -> Any:
                self._verifier.admit(carrier([*given, *named.values()]), wanted)
                return function(*given, **named)

            return cast(_Function, guarded)

        return decorate

    def close(self) -> None:
        """Close the connections; the guard opens others when it is asked again."""
        self._verifier.close()


def _known(scope: str) -> str:
    if scope not in SCOPES:
        raise ValueError(f"There is no scope {scope!r}. There are {', '.join(SCOPES)}.")
    return scope


async def _answer(scope: Carrier, send: Send, denied: RequestDenied) -> None:
    kind = _ANSWERS[scope["type"]]
    if kind == _ANSWERS["websocket"] and kind not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        return
    headers = [(name.lower().encode(), value.encode()) for name, value in denied.headers]
    await send({"type": f"{kind}.start", "status": denied.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": b"" if scope.get("method") == "HEAD" else denied.body})
