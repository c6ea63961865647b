"""What a server answered instead of a success, as a failure with a sentence for a person."""

from dataclasses import dataclass
from typing import Final

from mushu.cli.answers import IDENTIFIER, Answer
from mushu.cli.client.connection import ServerAddress
from mushu.cli.credential_store import KEY_VARIABLE, RequestCredential
from mushu.cli.errors import Failure, Refused, Unreachable, strange_answer

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


def refusal(reply: HttpReply, server: ServerAddress, credential: RequestCredential | None) -> Failure:
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
