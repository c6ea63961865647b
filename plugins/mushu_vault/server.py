"""Which server is talked to: its address, its namespace, what it is verified with, how patiently."""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from mushu.destination import DestinationError, is_loopback_host
from mushu_vault.settings import Settings

_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?")
_PREFIX: Final = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_CONNECT_TIMEOUT: Final = 5.0
_READ_TIMEOUT: Final = 15.0


@dataclass(frozen=True, slots=True)
class Server:
    """One server, as seen with one set of certificates."""

    #: `https://vault.example:8200`, or with the prefix that a proxy puts before it; free of secrets.
    url: str
    #: Empty for the uppermost.
    namespace: str = ""
    #: Files and a folder, empty where none is set.
    cacert: str = ""
    capath: str = ""
    client_cert: str = ""
    client_key: str = ""
    #: The name that the certificate must have, where it is not the one in the address.
    tls_server_name: str = ""
    #: Seconds: to be connected; and to have the whole answer once the request is sent.
    connect_timeout: float = _CONNECT_TIMEOUT
    read_timeout: float = _READ_TIMEOUT

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS is spoken."""
        return self.url.startswith("https:")


def server_from(settings: Settings, namespace: str | None) -> Server:
    """Return the server that the settings name, seen from `namespace` or, where that is None, from theirs.

    Raises:
        DestinationError: none is named, or it cannot be trusted with a key; permanent.
    """
    settings.refuse_unverified()
    settings.refuse_relative()
    if bool(settings.find("client_cert")) != bool(settings.find("client_key")):
        raise DestinationError(
            "VAULT_CLIENT_CERT and VAULT_CLIENT_KEY belong together, and one of them is not set. Set both or none.",
            permanent=True,
        )
    read_timeout = settings.seconds("timeout", _READ_TIMEOUT)
    return Server(
        url=_url(settings),
        namespace=_named(settings.find("namespace") if namespace is None else namespace),
        cacert=settings.find("cacert"),
        capath="" if settings.find("cacert") else settings.find("capath"),
        client_cert=settings.find("client_cert"),
        client_key=settings.find("client_key"),
        tls_server_name=settings.find("tls_server_name"),
        connect_timeout=settings.seconds("connect_timeout", min(_CONNECT_TIMEOUT, read_timeout)),
        read_timeout=read_timeout,
    )


def _named(namespace: str) -> str:
    name = namespace.strip("/")
    if not name.isprintable():
        raise DestinationError("VAULT_NAMESPACE holds a control character. Set it to the name alone.", permanent=True)
    return "" if name == "root" else name


def _url(settings: Settings) -> str:
    parts, fault = _examined(settings.find("addr"))
    if fault is not None:
        del parts  # or a traceback printed with locals shows what was refused
        raise DestinationError(
            f"VAULT_ADDR {fault}. Set it, or MUSHU_VAULT_ADDR, to an address such as https://vault.example:8200.",
            permanent=True,
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def _examined(address: str) -> tuple[SplitResult, str | None]:
    """Return the parts of `address`, and what is wrong with them."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return SplitResult("", "", "", "", ""), "is no address"
    fault = None
    if not address:
        fault = "is not set"
    elif parts.scheme not in ("http", "https"):
        fault = "does not begin with https:// (or http://, on this machine)"
    elif "@" in parts.netloc or "?" in address or "#" in address:
        fault = "holds a user name, a password, a query or a fragment. If that was a secret, it has been in the open"
    elif port == 0 or parts.netloc.endswith(":") or not _is_host(host):
        fault = "names no host, or a port that there is not"
    elif _PREFIX.fullmatch(parts.path.rstrip("/")) is None:
        fault = "has something odd in its path"
    elif parts.path.rstrip("/").endswith("/v1"):
        fault = "ends with /v1. Leave that out"
    elif parts.scheme == "http" and not is_loopback_host(host):
        fault = "begins with http://, and a key is not sent to another machine unencrypted"
    return parts, fault


def _is_host(host: str) -> bool:
    try:
        return "%" not in host and bool(ip_address(host))
    except ValueError:
        return _NAME.fullmatch(host) is not None
