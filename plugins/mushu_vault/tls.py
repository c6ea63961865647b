"""How a server proves that it is Vault: the context of TLS, made by hand."""

import ssl

import certifi

from mushu.destination import DestinationError
from mushu_vault.settings import VaultServer


def context_for(server: VaultServer) -> ssl.SSLContext:
    """Return a context that verifies `server`.

    A context of our own ignores SSLKEYLOGFILE: the helpers of `ssl` and urllib3 would have it write the keys of
    the connection, and with them the key that is delivered, to a file.

    Raises:
        DestinationError: a certificate or its key cannot be used; permanent.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    problem = _load_authorities(context, server) or _load_own_certificate(context, server)
    if problem:
        raise DestinationError(problem, permanent=True)
    return context


def _load_authorities(context: ssl.SSLContext, server: VaultServer) -> str:
    """Trust the authorities that are named, or else those of this machine; return what is wrong."""
    try:
        if server.cacert or server.capath:
            context.load_verify_locations(server.cacert or None, server.capath or None)
        elif _machine_has_authorities():
            context.load_default_certs()
        else:
            context.load_verify_locations(certifi.where())
    except OSError:
        return (
            "VAULT_CACERT (or VAULT_CAPATH) cannot be read as certificates. Set it to a file in PEM format that this "
            "process may read."
        )
    return ""


def _load_own_certificate(context: ssl.SSLContext, server: VaultServer) -> str:
    if not server.client_cert:
        return ""
    try:
        # An empty password instead of none: or OpenSSL asks for one at the terminal.
        context.load_cert_chain(server.client_cert, server.client_key, password="")
    except (OSError, ValueError):
        return (
            "VAULT_CLIENT_CERT and VAULT_CLIENT_KEY cannot be used. They must be files in PEM format that this process "
            "may read, belong to each other, and the key must have no password."
        )
    return ""


def _machine_has_authorities() -> bool:
    """Tell whether OpenSSL finds any: where Python brought its own, it may look in folders that do not exist."""
    found = ssl.get_default_verify_paths()
    return bool(found.cafile or found.capath)
