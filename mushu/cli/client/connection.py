"""How a server is reached: its address and whose certificates are trusted."""

import os
import ssl
from dataclasses import dataclass

from mushu.address import is_loopback, is_plain
from mushu.cli.errors import Failure


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """The server that a command asks."""

    url: str
    #: The file with the certificates to trust instead of the system's, or None.
    ca: str | None
    #: The command line that logs in to it.
    login_command: str


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
