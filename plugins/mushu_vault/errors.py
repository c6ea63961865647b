"""Errors for the operator: why a call failed, and what to do about it.

Either there was no answer that could be understood, or one whose status is no success. Nothing that a server says is
repeated: it has seen the key, and what it says would end up in a log.
"""

import re
import ssl
from typing import Final
from urllib.parse import urlsplit

from requests.exceptions import Timeout
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from mushu.destination import DestinationError
from mushu_vault.settings import VaultServer

_HOST: Final = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")

_UNAVAILABLE: Final = "Vault is sealed, or it is starting: unseal it (see `vault status`), then try again"
_PASSING: Final = {
    412: "has not caught up with a write yet. Try again in a moment",
    429: "is asked too often, and refuses for now. Try again later, or raise its rate limit",
    472: "is a standby of another region, and does not answer. Set VAULT_ADDR to an active one",
    473: "is a standby, and does not answer. Set VAULT_ADDR to an active one, or try again",
    501: "is not initialized. Run `vault operator init`, then try again",
    503: f"is not available. {_UNAVAILABLE}",
}
_LASTING: Final = {
    400: "does not accept what was asked of it. See its audit log for the reason",
    404: "has nothing at this address. See whether VAULT_ADDR and the namespace are right",
    405: "does not know this operation. See whether VAULT_ADDR leads to Vault, and the mount is a KV engine",
    413: (
        "finds the secret too large, and wrote nothing. Use a secret of its own for the key, or raise the limit: "
        "max_entry_size of Raft storage, max_request_size of the listener"
    ),
}


class Unanswered(DestinationError):
    """There was no answer that could be understood.

    Args:
        sent: whether the request may have reached the server, and been carried out.
        timed_out: whether all the time that there is for an answer was spent.
    """

    def __init__(self, message: str, *, permanent: bool = False, sent: bool = True, timed_out: bool = False) -> None:
        super().__init__(message, permanent=permanent)
        self.sent = sent
        self.timed_out = timed_out


def not_understood(server: str) -> Unanswered:
    """Return the error for an answer that is no answer of a KV engine."""
    return Unanswered(
        f"{server} gave an answer that is not Vault's, or not whole. Try again; if that does not help, see what stands "
        "between here and Vault."
    )


def causes_of(error: BaseException) -> list[BaseException]:
    """Return `error` and all that it was made from."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        cause = waiting.pop()
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            waiting += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
    return found


def untrusted(server: VaultServer, causes: list[BaseException]) -> Unanswered:
    """Return the error for a failure of TLS: nothing was sent if it was about the certificate."""
    url = server.url
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return Unanswered(
            f"The certificate of {url} does not verify. Set VAULT_CACERT to that of the authority that signed it, "
            "and see whether VAULT_ADDR has the name that it was issued for.",
            permanent=True,
            sent=False,
        )
    if any(isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError) for cause in causes):
        return silent(server, causes)
    return Unanswered(
        f"{url} does not speak TLS as it should. See whether it is meant to be http://, and whether it asks for a "
        "client certificate (VAULT_CLIENT_CERT, VAULT_CLIENT_KEY).",
        permanent=True,
    )


def silent(server: VaultServer, causes: list[BaseException]) -> Unanswered:
    """Return the error for a connection that could not be made, or ended before the answer did."""
    url = server.url
    if any(isinstance(cause, NewConnectionError | ConnectTimeoutError) for cause in causes):
        return Unanswered(f"{url} cannot be reached. See whether Vault runs there, then try again.", sent=False)
    if any(isinstance(cause, TimeoutError | Timeout) for cause in causes):
        return Unanswered(
            f"{url} gave no whole answer within {server.read_timeout:g} seconds. Try again, or set "
            "MUSHU_VAULT_TIMEOUT.",
            timed_out=True,
        )
    return Unanswered(f"{url} broke the connection off. Try again.")


def is_redirect(status: int) -> bool:
    """Tell whether `status` sends us elsewhere."""
    return 300 <= status < 400


def unexpected(server: str, status: int, location: str = "") -> DestinationError:
    """Return the error for a status that is no success; `location` is where a redirect leads to."""
    if is_redirect(status):
        return _redirected(server, location)
    if status in _PASSING or status >= 500:
        reason = _PASSING.get(status, f"failed ({status}). Try again; if that does not help, see its log")
        return DestinationError(f"{server} {reason}.", permanent=False)
    reason = _LASTING.get(status, f"refuses ({status}). See whether VAULT_ADDR leads to Vault")
    return DestinationError(f"{server} {reason}.", permanent=True)


def _redirected(server: str, location: str) -> DestinationError:
    # The host alone: the rest is written by whoever answers.
    try:
        found = urlsplit(location)
        host = found.netloc.rpartition("@")[2] if found.scheme in ("http", "https") else ""
    except ValueError:
        host = ""
    where = f" to {found.scheme}://{host}" if _HOST.fullmatch(host) else ""
    way_out = f"Set VAULT_ADDR{where}" if where else "Set VAULT_ADDR to the address of the active Vault itself"
    return DestinationError(
        f"{server} sends us elsewhere, and a key does not follow. {way_out}, if you trust it.", permanent=True
    )
