"""Whom mushu trusts to vouch for a server: the system, or the one file that the user names; never nobody."""

import os
import ssl

from mushu.address import is_plain
from mushu.cli.faults import Failure


def trusting(url: str, ca: str | None) -> ssl.SSLContext:
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
