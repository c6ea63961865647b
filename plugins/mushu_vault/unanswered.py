"""Errors for the operator: why there was no answer, or none that could be understood, and what to do about it."""

import ssl

from requests.exceptions import Timeout
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from mushu.destination import DestinationError
from mushu_vault.settings import VaultServer


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
