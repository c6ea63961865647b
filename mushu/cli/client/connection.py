"""How a server is reached: its address, whose certificates are trusted, and what is said where it is not."""

import os
import socket
import ssl
from dataclasses import dataclass
from typing import Final

import httpx

from mushu.address import host_of, is_plain
from mushu.cli.errors import Failure, Unreachable

_SELF_SIGNED: Final = frozenset({18, 19, 20, 21})  # X509_V_ERR_…: signed by no authority that this machine trusts
_EXPIRED: Final = 10
_OTHER_HOST: Final = frozenset({62, 64})
#: What an OpenSSL says that is answered in plain text.
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"})


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """The server that a command asks."""

    url: str
    #: The file with the certificates to trust instead of the system's, or None.
    ca: str | None
    #: The command line that logs in to it.
    login_command: str


def tls_context(url: str, ca: str | None) -> ssl.SSLContext:
    """Return what httpx is to verify a server with.

    Args:
        ca: a file of PEM certificates to trust instead of the system's; SSL_CERT_FILE and SSL_CERT_DIR change the
            system's, as everywhere.

    Raises:
        Failure: the file holds none.
    """
    if is_plain(url):  # trusts nobody, and spares the tenths of a second that loading authorities takes
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context = ssl.create_default_context(cafile=ca)
        if ca is None and not os.environ.get("SSL_CERT_FILE") and not os.environ.get("SSL_CERT_DIR"):
            import certifi  # as httpx does, for a Python that was built without the system's certificates

            context.load_verify_locations(certifi.where())
    except OSError:  # SSLError is one
        raise Failure(f"{ca} holds no certificate that can be read. --ca takes a file in PEM form.") from None
    return context


def unreachable(error: Exception, url: str) -> Failure:
    """Return the failure that stands for an error of httpx; it holds nothing of the request."""
    causes = _causes(error)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Unreachable(_certificate(cause, url))
        if isinstance(cause, ssl.SSLError):
            return Unreachable(_tls(cause, url))
        if isinstance(cause, socket.gaierror):
            return Unreachable(
                f"No machine is known by the name {host_of(url)}. Check the spelling of {url} and the network."
            )
        if isinstance(cause, ConnectionRefusedError):
            return Unreachable(
                f"Nothing listens at {url}. Start the server there, or name another with --url or MUSHU_URL."
            )
    if isinstance(error, httpx.ProxyError):
        return Unreachable(f"The proxy on the way to {url} refused. See HTTPS_PROXY, or except the host in NO_PROXY.")
    if isinstance(error, httpx.TimeoutException):
        return Unreachable(f"{url} does not answer in time. Check the address and the network, and try again.")
    if isinstance(error, httpx.RemoteProtocolError):
        return Unreachable(
            f"What answers at {url} does not speak HTTP, or broke off. If it speaks TLS, the address begins with "
            "https://; else try again."
        )
    return Unreachable(f"{url} cannot be reached ({type(error).__name__}). Check the address and the network.")


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and what it was raised from, innermost last."""
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in found:
        found.append(following)
        following = following.__cause__ or following.__context__
    return found


def _certificate(error: ssl.SSLCertVerificationError, url: str) -> str:
    if error.verify_code in _SELF_SIGNED:
        return (
            f"The certificate of {url} is self-signed, or signed by an authority that this machine does not know. "
            "If it is yours, name its file with --ca FILE or SSL_CERT_FILE; it is never skipped."
        )
    if error.verify_code == _EXPIRED:
        return f"The certificate of {url} has expired. Renew it on the server, or check the clock of this machine."
    if error.verify_code in _OTHER_HOST:
        return f"The certificate of {url} is for another host. Use the name that the certificate was made for."
    return f"The certificate of {url} is not valid (OpenSSL says {error.verify_code}). Replace it on the server."


def _tls(error: ssl.SSLError, url: str) -> str:
    if error.reason in _NO_TLS:
        return f"The server at {url} does not speak TLS. If it is on this machine, its address begins with http://."
    return f"No secure connection to {url} is possible (OpenSSL says {error.reason}). See what the server allows."
