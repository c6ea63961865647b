"""How Mushu is asked about one key: over connections that are kept, within a time, and with no redirect followed.

Each process has connections of its own, also after a fork: two that shared one could read each other's answers.
"""

import json
import logging
import os
import ssl
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httpx

from mushu.address import host_in_url, is_loopback, is_plain
from mushu.environment import Environment
from mushu.guard.answer import BadAnswer, VerifiedKey, read_answer, undecided
from mushu.secret import Secret

_LOG: Final = logging.getLogger("mushu.guard")
_PATH: Final = "/api-keys/verify"
#: Bytes of an answer about one key.
_MOST_BYTES: Final = 65_536


@dataclass(slots=True)
class MushuConnection:
    """One server and the key that the service asks it with; any number of threads may ask at once."""

    url: str
    key: Secret
    #: That of the key.
    environment: Environment
    timeout: float
    _client: tuple[int, httpx.Client] | None = None

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
        except httpx.HTTPError as error:
            reason = type(error).__name__  # its text may hold what a stranger sent
        _LOG.error("Mushu at %s cannot be asked, so nothing passes: %s.", self.url, reason)
        raise undecided()

    def close(self) -> None:
        """Close the connections of this process; the next question opens others."""
        before, self._client = self._client, None
        if before is not None and before[0] == os.getpid():
            before[1].close()

    def _here(self) -> httpx.Client:
        known = self._client
        if known is None or known[0] != os.getpid():
            self._client = known = os.getpid(), self._new_client()
        return known[1]

    def _new_client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url,
            headers={
                "Authorization": f"ApiKey {self.key.reveal()}",  # httpx shows no header of this name
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": "mushu-guard",
            },
            # What trusts nobody is enough for plain http, and spares loading the authorities.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if is_plain(self.url) else True,
            timeout=self.timeout,
            follow_redirects=False,  # what is sent holds a key
            # A proxy must not see what never leaves the machine.
            mounts={f"all://{host_in_url(self.url)}": None} if is_loopback(self.url) else None,
        )

    def _answer_to(self, content: bytes) -> bytes:
        """Return the answer; a connection that was lost is replaced once."""
        try:
            return self._exchange(content)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            return self._exchange(content)

    def _exchange(self, content: bytes) -> bytes:
        end, answer = time.monotonic() + self.timeout, b""
        with self._here().stream("POST", _PATH, content=content) as response:
            if response.status_code != HTTPStatus.OK:
                raise BadAnswer(_explained(response.status_code))
            for part in response.iter_raw():
                answer += part
                if len(answer) > _MOST_BYTES or time.monotonic() > end:
                    raise BadAnswer("the answer is too long, or too slow")
        return answer


def _explained(status: int) -> str:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"it answers {status}; give the guard an API key that is good and has the scope `read`"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"it answers {status}; name the address that this leads to, because no redirect is followed"
    return f"it answers {status}"
