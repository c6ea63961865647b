"""What goes over the wire, and what never does: one request, one answer, within limits.

No proxy, no `~/.netrc`, no bundle of certificates from the environment; no redirect is followed; nothing is sent twice.
"""

from types import TracebackType
from typing import Final, Self

import requests
from hvac.adapters import RawAdapter
from urllib3.exceptions import HTTPError

from mushu.destination import DestinationError, Secret
from mushu_vault.document import Document
from mushu_vault.faults import Unanswered
from mushu_vault.messages import Reply, Request
from mushu_vault.server import Server
from mushu_vault.trouble import causes_of, silent, untrusted
from mushu_vault.uri import encoded_path
from mushu_vault.wire import WireAdapter, is_printing

# Vault takes requests of 32 MiB unless told otherwise; a secret that is read comes in an envelope.
_LARGEST: Final = 33 * 1024 * 1024
_CHUNK: Final = 64 * 1024

_MERGE_PATCH: Final = "application/merge-patch+json"


class _Session(requests.Session):
    """A session that leaves a redirect unread: even unfollowed, its body would be fetched to its end."""

    def get_redirect_target(self, _response: requests.Response) -> None:
        return None


class Transport:
    """Connections to one server, for one operation.

    Raises:
        DestinationError: a certificate cannot be used; permanent.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._session = _Session()
        self._session.trust_env = False
        self._session.adapters.clear()
        self._session.mount(server.url, WireAdapter(server))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._session.close()

    def exchange(self, request: Request, token: Secret | None) -> Reply:
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
        trouble: DestinationError
        # What goes wrong below holds the request; it is looked at and left behind, so that nothing hangs on to it.
        try:
            return self._exchanged(request, token)
        except requests.exceptions.SSLError as error:
            trouble = untrusted(self.server, causes_of(error))
        except (requests.exceptions.RequestException, HTTPError, OSError) as error:
            trouble = silent(self.server, causes_of(error))
        except _EndlessError:
            trouble = Unanswered(
                f"{self.server.url} answered with more than any secret can be. See what answers there."
            )
        except Exception as error:
            trouble = Unanswered(f"{self.server.url} could not be asked ({type(error).__name__}). Try again.")
        raise trouble

    def _exchanged(self, request: Request, token: Secret | None) -> Reply:
        adapter = RawAdapter(
            base_uri=self.server.url,
            token=None if token is None else token.reveal(),
            namespace=self.server.namespace.encode() or None,
            session=self._session,
            timeout=(self.server.connect_timeout, self.server.read_timeout),
            allow_redirects=False,
        )
        headers = {"Accept-Encoding": "identity"}
        if request.body is not None:
            headers["Content-Type"] = _MERGE_PATCH if request.method == "PATCH" else "application/json"
        with adapter.request(
            request.method,
            f"v1/{encoded_path(request.path)}",
            headers=headers,
            raise_exception=False,
            params=None if request.version is None else {"version": request.version},
            data=None if request.body is None else request.body.encoded(),
            stream=True,
        ) as response:
            return Reply(response.status_code, Document.parsed(_body(response)), response.headers.get("Location", ""))


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
