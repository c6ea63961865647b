"""One request to the HTTP API and its answer; every refusal becomes a sentence here.

A token goes to the address that it was issued by and nowhere else: redirects are not followed, TLS is always verified,
and on the way to loopback no proxy is asked.
"""

import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode

import httpx

from mushu.address import is_loopback, is_plain
from mushu.cli.answers import IDENTIFIER, Answer, parsed, rows_of
from mushu.cli.client.connection import ServerAddress, tls_context, unreachable
from mushu.cli.errors import IN_PROGRESS, Failure, Refused, Unreachable, misunderstood, strange_answer
from mushu.cli.request_credential import KEY_VARIABLE, RequestCredential
from mushu.secret import Secret

#: As many rows as the server puts on one page.
_PAGE: Final = "500"
_LARGEST: Final = 8 << 20
_WHOLE_ANSWER: Final = 60.0
_TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)
_OK: Final = 200
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
#: What is allowed between two slashes: a public id, or the token of a device.
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")
#: Seconds to wait before what may be repeated is tried again.
_PAUSES: Final = (0.3, 1.0)
_UNAUTHORIZED: Final = 401
_REDIRECTS: Final = range(300, 400)
_SERVER_ERRORS: Final = range(500, 600)
#: Codes of server errors that say what became of a delivery by the server: nothing is left to guess.
_OF_DELIVERIES: Final = ("delivery_failed", "delivery_undecided")
_LONGEST_SENTENCE: Final = 1_000
_LONGEST_CODE: Final = 40


@dataclass(frozen=True, slots=True)
class HttpReply:
    """One answer of the server; `document` is None where it is no JSON object."""

    status: int
    document: Answer | None
    media_type: str
    retry_after: str


def refuse_plain_http(url: str, *, insecure: bool, what: str = "your token and your keys") -> None:
    """Refuse an address where anybody on the way could read what is sent there.

    Raises:
        Failure: it is such an address, and the user did not insist.
    """
    if is_plain(url) and not is_loopback(url) and not insecure:
        raise Failure(
            f"{url} is plain http: everybody on the way could read {what}. Use https://, or add "
            "--insecure if you trust the whole way."
        )


class Api:
    """Asks one server, with one credential or as nobody; to be closed."""

    def __init__(self, server: ServerAddress, credential: RequestCredential | None) -> None:
        self._server = server
        self._credential = credential

    def get(self, *path: str, **query: str) -> Answer:
        """Return the answer at a path, given by its segments."""
        return self._ask("GET", path, query=query)

    def rows(self, path: tuple[str, ...], field: str, query: Mapping[str, str]) -> Iterator[Answer]:
        """Yield the rows of all pages of the list at a path.

        Args:
            field: the name of the list in the answer.

        Raises:
            WrongAnswer: it is no list, or it has no end.
        """
        seen: set[str] = set()
        cursor = None
        while True:
            page = self.get(*path, **query, limit=_PAGE, **({"cursor": cursor} if cursor else {}))
            yield from rows_of(page, field)
            cursor = page.get("next_cursor")
            if cursor is None:
                return
            if not isinstance(cursor, str) or cursor in seen:  # a list that leads back to itself never ends
                raise misunderstood("its pages do not end")
            seen.add(cursor)

    @property
    def url(self) -> str:
        """The address of the server."""
        return self._server.url

    def post(self, *path: str, body: Mapping[str, Any] | None = None) -> Answer:
        return self._ask("POST", path, _JSON if body is not None else None, body or {})

    def post_idempotent(self, *path: str, body: Mapping[str, Any]) -> Answer:
        """Have something made or sent, and try again where no answer came: the server knows the request by its key."""
        once = {"Idempotency-Key": str(uuid.uuid4())}
        for seconds in _PAUSES:
            try:
                return self._ask("POST", path, _JSON, body, headers=once)
            except Unreachable:
                time.sleep(seconds)
            except Refused as refusal:
                if refusal.code != IN_PROGRESS:
                    raise
                time.sleep(seconds)
        return self._ask("POST", path, _JSON, body, headers=once)

    def post_form(self, *path: str, fields: Mapping[str, Any]) -> Answer:
        return self._ask("POST", path, _FORM, fields)

    def patch(self, *path: str, body: Mapping[str, Any]) -> Answer:
        return self._ask("PATCH", path, _JSON, body)

    def delete(self, *path: str) -> Answer:
        return self._ask("DELETE", path)

    def close(self) -> None:
        if "_client" in self.__dict__:
            self._client.close()

    @cached_property
    def _client(self) -> httpx.Client:
        return httpx.Client(
            verify=tls_context(self._server.url, self._server.ca),
            timeout=_TIMEOUT,
            follow_redirects=False,
            # A proxy must not see what never leaves the machine.
            trust_env=not is_loopback(self._server.url),
        )

    def _ask(
        self,
        method: str,
        path: tuple[str, ...],
        media_type: str | None = None,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the answer of a success.

        Raises:
            Unreachable, WrongAnswer, Refused: what came instead.
        """
        address = self._address(path, query or {})
        fault: Failure
        try:
            reply = self._exchange(method, address, self._headers(media_type) | dict(headers or {}), body or {})
        except Failure as failure:
            fault = failure.with_traceback(None)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            fault = unreachable(error, self._server.url)
        except (ImportError, ValueError):  # a proxy of a kind that httpx needs more packages for, or does not know
            fault = Failure("The proxy that HTTPS_PROXY or ALL_PROXY names cannot be used. Correct it, or unset it.")
        else:
            if reply.status == _OK and reply.document is not None:
                return reply.document
            fault = _refusal(reply, self._server, self._credential)
        raise fault  # here, where it carries no trace of what was sent

    def _address(self, path: tuple[str, ...], query: Mapping[str, str]) -> str:
        if not all(_SEGMENT.fullmatch(segment) for segment in path):  # `..` would climb to another resource
            raise Failure("An id has only letters, digits, _ and - in it. See the list for the right one.")
        return "/".join([self._server.url, *path]) + (f"?{urlencode(query)}" if query else "")

    def _headers(self, media_type: str | None) -> dict[str, str]:
        headers = {"Accept": _JSON, "Accept-Encoding": "identity", "User-Agent": "mushu-cli"}
        if self._credential is not None:
            headers["Authorization"] = f"{self._credential.scheme} {self._credential.secret.reveal()}"
        if media_type is not None:
            headers["Content-Type"] = media_type
        return headers

    def _exchange(self, method: str, address: str, headers: dict[str, str], body: Mapping[str, Any]) -> HttpReply:
        content = _encoded(headers.get("Content-Type"), body)
        with self._client.stream(method, address, headers=headers, content=content) as response:
            raw, end = bytearray(), time.monotonic() + _WHOLE_ANSWER
            for chunk in response.iter_raw():
                raw += chunk
                if len(raw) > _LARGEST:
                    raise strange_answer(self._server.url, "it sends without end")
                if time.monotonic() > end:
                    raise Unreachable(f"{self._server.url} answers too slowly. Try again later.")
            found = response.headers
            kind = found.get("Content-Type", "").partition(";")[0].strip().lower()
            return HttpReply(response.status_code, parsed(bytes(raw)), kind, found.get("Retry-After", ""))


def _refusal(reply: HttpReply, server: ServerAddress, credential: RequestCredential | None) -> Failure:
    """Return the failure for any answer but a good one: a problem document (RFC 9457), or an error of OAuth.

    Args:
        credential: what the request carried.
    """
    document = reply.document or {}
    detail = document.get("detail", document.get("error_description"))
    code = document.get("code", document.get("error"))
    if reply.status in _REDIRECTS:
        return strange_answer(server.url, "it sends the request elsewhere, and mushu does not follow with a token")
    if not isinstance(code, str):
        return _without_code(reply, server.url)
    if reply.status == _UNAUTHORIZED and credential is not None and not credential.is_key:
        return Refused(_logged_out(server, code), reply.status, code)
    sentence = f"The server refused ({code[:_LONGEST_CODE]})."
    if isinstance(detail, str) and detail:
        sentence = detail[:_LONGEST_SENTENCE]
    if reply.status == _UNAUTHORIZED and credential is not None:
        sentence += f" The key is the one in {KEY_VARIABLE}."
    if reply.retry_after.isascii() and reply.retry_after.isdigit():
        sentence += f" It asks to wait {reply.retry_after[:9]} seconds."
    if reply.status in _SERVER_ERRORS and code not in _OF_DELIVERIES:
        return Unreachable(sentence)
    key_id = document.get("key_id")
    named = isinstance(key_id, str) and IDENTIFIER.fullmatch(key_id) is not None
    return Refused(sentence, reply.status, code, key_id if named else None)


def _without_code(reply: HttpReply, url: str) -> Failure:
    if reply.status in _SERVER_ERRORS:
        return Unreachable(f"{url} has trouble (HTTP {reply.status}). Try again, or see the server's log.")
    return strange_answer(url, f"HTTP {reply.status} with {reply.media_type[:_LONGEST_CODE] or 'nothing'}")


def _logged_out(server: ServerAddress, code: str) -> str:
    if code == "expired_credential":
        why = f"Your login at {server.url} has expired, as it does after 12 hours."
    else:
        why = f"{server.url} does not accept your login any more ({code[:_LONGEST_CODE]})."
    return f"{why} Run `{server.login_command}`."


def _encoded(media_type: str | None, body: Mapping[str, Any]) -> bytes | None:
    """Return the body; only here are the secrets in it revealed."""
    if media_type is None:
        return None
    if media_type == _FORM:
        return urlencode({name: _plain(value) for name, value in body.items()}).encode()
    return json.dumps(body, default=_plain).encode()


def _plain(value: object) -> object:
    return value.reveal() if isinstance(value, Secret) else value
