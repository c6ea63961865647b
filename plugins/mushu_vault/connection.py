"""What goes over the wire, and what never does: one request of hvac, one answer, within limits.

hvac knows the paths and the bodies. This module has what hvac lacks: no proxy, no `~/.netrc`, no certificates from the
environment; no redirect is followed; nothing is sent twice; an answer is bounded in size and time; nothing that a
server says is raised.
"""

import http.client
import io
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, Self, cast

import hvac
import requests
from hvac.adapters import RawAdapter
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from mushu.destination import DestinationError, Secret
from mushu_vault.errors import Unanswered, causes_of, silent, untrusted
from mushu_vault.json_object import JsonObject
from mushu_vault.settings import VaultServer, context_for
from mushu_vault.uri import encoded_path


@dataclass(frozen=True, slots=True, repr=False)
class VaultReply:
    """One answer."""

    #: 413 for whatever is too large, also where the server calls that a failure: nothing was done.
    status: int
    #: None where it is no JSON object.
    body: JsonObject | None
    #: Where a redirect leads to.
    location: str = ""

    @property
    def is_success(self) -> bool:
        """Whether it was done, as far as the status goes."""
        return 200 <= self.status < 300

    @property
    def is_absence(self) -> bool:
        """Whether it says in the words of a KV engine that nothing is there; any web server can say 404."""
        return self.status == 404 and self.body is not None and self.body.texts("errors") == []

    def mentions(self, phrase: str) -> bool:
        """Tell whether `phrase`, in lower case, is among the reasons given."""
        reasons = self.body.texts("errors") if self.body is not None else None
        return any(phrase in reason.lower() for reason in reasons or ())


# Vault takes requests of 32 MiB unless told otherwise; a secret that is read comes in an envelope.
_LARGEST: Final = 33 * 1024 * 1024
_CHUNK: Final = 64 * 1024

# What servers in Go answer to plain HTTP where they expect TLS.
_TO_TLS: Final = b"Client sent an HTTP request to an HTTPS server"

# How storage below the server (Raft, Consul) refuses an entry; the server answers with it as a failure of its own.
_TOO_LARGE: Final = "value being too large"

_MERGE_PATCH: Final = "application/merge-patch+json"


#: What is asked of a server, in the words of hvac.
VaultRequest = Callable[[hvac.Client], VaultReply]


class _BareSession(requests.Session):
    """A session that leaves a redirect unread: even unfollowed, its body would be fetched to its end."""

    def get_redirect_target(self, _response: requests.Response) -> None:
        return None


class VaultConnection:
    """Connections to one server, for one operation.

    Raises:
        DestinationError: a certificate cannot be used; permanent.
    """

    def __init__(self, server: VaultServer) -> None:
        self.server = server
        self._session = _BareSession()
        self._session.trust_env = False
        self._session.adapters.clear()
        self._session.mount(server.url, ServerAdapter(server))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._session.close()

    def exchange(self, request: VaultRequest, token: Secret | None) -> VaultReply:
        """Send `request` and return the answer, whatever it says.

        Raises:
            Unanswered: there was none that could be read to its end.
        """
        if is_printing():
            raise Unanswered(
                "http.client.HTTPConnection.debuglevel is set, so every request would be printed, and the key with it. "
                "Set it back to 0.",
                permanent=True,
                sent=False,
            )
        problem: DestinationError
        # An exception below holds the request. It is examined and left behind, so that nothing refers to it.
        try:
            return request(self._hvac(token))
        except requests.exceptions.SSLError as error:
            problem = untrusted(self.server, causes_of(error))
        except (requests.exceptions.RequestException, HTTPError, OSError) as error:
            problem = silent(self.server, causes_of(error))
        except _EncryptedOnlyError:
            problem = Unanswered(
                f"{self.server.url} speaks TLS, and is asked without. Begin VAULT_ADDR with https://.",
                permanent=True,
                sent=False,
            )
        except _EndlessError:
            problem = Unanswered(
                f"{self.server.url} answered with more than any secret can be. See what answers there."
            )
        except Exception as error:
            problem = Unanswered(f"{self.server.url} could not be asked ({type(error).__name__}). Try again.")
        raise problem

    def _hvac(self, token: Secret | None) -> hvac.Client:
        """Return hvac's client for one request; whatever it could read from the environment is given."""
        return hvac.Client(
            url=self.server.url,
            token="" if token is None else token.reveal(),
            cert=(),
            verify=True,
            timeout=(self.server.connect_timeout, self.server.read_timeout),
            allow_redirects=False,
            session=self._session,
            adapter=VaultAdapter,
            namespace=self.server.namespace.encode() or None,
        )


class VaultAdapter(RawAdapter):
    """Answers hvac with a `VaultReply`, where hvac would round numbers, and raise with what the server said."""

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        json: Mapping[str, object] | None = None,
        **named: Any,
    ) -> VaultReply:
        """Send one request, and read its answer within limits."""
        mine = {"Accept-Encoding": "identity", "Content-Type": "application/json", **(headers or {})}
        data = None if json is None else JsonObject(json).encoded()
        if data is None:
            del mine["Content-Type"]
        with super().request(method, url, mine, raise_exception=False, data=data, stream=True, **named) as response:
            location, body = response.headers.get("Location", ""), _body(response)
            if response.status_code == 400 and body.startswith(_TO_TLS):
                raise _EncryptedOnlyError
            reply = VaultReply(response.status_code, JsonObject.parsed(body), location)
            return replace(reply, status=413) if reply.status >= 500 and reply.mentions(_TOO_LARGE) else reply

    def patch(self, path: str, body: Mapping[str, object]) -> VaultReply:
        """Have the server merge `body` into what is at `path`; hvac's own patch reads and writes the whole."""
        return self.request("PATCH", f"/v1/{encoded_path(path)}", {"Content-Type": _MERGE_PATCH}, json=body)


class _EncryptedOnlyError(Exception):
    """Who answers expects TLS."""


class _EndlessError(Exception):
    """The answer is larger than any secret."""


def _body(response: requests.Response) -> bytes:
    """Return the body, not decompressed: a small one could become a large one."""
    chunks: list[bytes] = []
    size = 0
    while chunk := response.raw.read(_CHUNK, decode_content=False):
        size += len(chunk)
        if size > _LARGEST:
            raise _EndlessError
        chunks.append(chunk)
    return b"".join(chunks)


class _TimedStream(io.RawIOBase):
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
        return io.BufferedReader(_TimedStream(self._socket, self._deadline))


class _Response(http.client.HTTPResponse):
    def __init__(self, connected: socket.socket, *arguments: Any, **named: Any) -> None:
        super().__init__(cast("socket.socket", _Limited(connected)), *arguments, **named)


class _TimedConnection(HTTPConnection):
    response_class = _Response


class _EncryptedConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _TimedConnection


class _EncryptedPool(HTTPSConnectionPool):
    ConnectionCls = _EncryptedConnection


class ServerAdapter(HTTPAdapter):
    """Connections to one server, never tried twice, trusting what the settings name and nothing else."""

    def __init__(self, server: VaultServer) -> None:
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
    return bool(_TimedConnection.debuglevel or _EncryptedConnection.debuglevel)
