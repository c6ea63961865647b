"""Where settings come from, which server they name, and what proves that it is that one.

The destination's own settings come first, then Vault's variables, then OpenBao's names for them.
"""

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

import certifi

from mushu.destination import DestinationError, Secret, is_loopback_host

# `bool` of Vault's command line, and what people write for it; anything else counts as yes, to be on the safe side.
_NO: Final = frozenset({"", "0", "f", "false", "n", "no", "off"})

#: What can be set for one destination, or by MUSHU_VAULT_…; `docs/destinations/vault.md` says what each means.
KNOWN: Final = frozenset(
    {
        "addr", "namespace", "cacert", "capath", "client_cert", "client_key", "tls_server_name", "skip_verify",
        "timeout", "connect_timeout", "auth", "auth_mount", "token", "role_id", "secret_id", "wrapped_secret_id_file",
        "secret_id_file", "role", "jwt_file",
    }
)  # fmt: skip

#: Those that name a file or a folder; the latter are read from no variable of Vault's.
_PATHS: Final = ("cacert", "capath", "client_cert", "client_key", "secret_id_file")
_OWN_PATHS: Final = ("wrapped_secret_id_file", "jwt_file")
_LONGEST: Final = 600.0


class VaultSettings:
    """One look-up for all sources. Shows nothing of what they hold, in no traceback.

    Args:
        own: the plugin's settings, by name in lower case.
        environ: the environment; read when it is asked.
    """

    __slots__ = ("_environ", "_own")

    def __init__(self, own: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> None:
        self._own = own
        self._environ = environ

    def own(self, name: str) -> str:
        """Return the plugin's own setting `name`; empty where it is not set."""
        return self._own.get(name, "").strip()

    def variable(self, name: str) -> str:
        """Return VAULT_`NAME`, or BAO_`NAME` where that is not set; empty where none is."""
        suffix = name.upper()
        return (self._environ.get(f"VAULT_{suffix}") or self._environ.get(f"BAO_{suffix}", "")).strip()

    def find(self, name: str) -> str:
        """Return the setting `name` from the first source that has it; empty where none has."""
        return self.own(name) or self.variable(name)

    def secret(self, name: str) -> Secret | None:
        """Return the plugin's own setting `name`, wrapped; None where it is not set."""
        return Secret(self.own(name)) if self.own(name) else None

    def secret_variable(self, name: str) -> Secret | None:
        """Return VAULT_`NAME`, wrapped; None where it is not set."""
        return Secret(self.variable(name)) if self.variable(name) else None

    @property
    def is_elsewhere(self) -> bool:
        """Whether the plugin's own address is another server than the one that Vault's variables are about."""
        own, usual = self.own("addr").rstrip("/"), self.variable("addr").rstrip("/")
        return bool(own and usual and own != usual)

    def home(self) -> str:
        """Return the home folder; empty where it is not known."""
        return self._environ.get("HOME", "")

    def seconds(self, name: str, default: float) -> float:
        """Return the plugin's own setting `name` as seconds.

        Raises:
            DestinationError: it is not a number of seconds; permanent.
        """
        try:
            seconds = float(self.own(name) or default)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds <= _LONGEST:
            raise DestinationError(
                f"MUSHU_VAULT_{name.upper()} must be a number of seconds, more than 0 and at most {_LONGEST:.0f}.",
                permanent=True,
            )
        return seconds

    def refuse_relative(self) -> None:
        """Raise if a path is another file in another folder: whoever made that folder would say whom to trust."""
        named = [(f"MUSHU_VAULT_{name.upper()}", self.own(name)) for name in (*_PATHS, *_OWN_PATHS)]
        named += [(f"VAULT_{name.upper()}", self.variable(name)) for name in _PATHS]
        for variable, path in named:
            if path and not path.startswith("/"):
                raise DestinationError(
                    f"{variable} must be an absolute path: a relative one is another file wherever a command runs.",
                    permanent=True,
                )

    def refuse_unverified(self) -> None:
        """Raise if somebody wants certificates not to be verified: a key would go to whoever stands in between."""
        if any(answer.lower() not in _NO for answer in (self.own("skip_verify"), self.variable("skip_verify"))):
            raise DestinationError(
                "VAULT_SKIP_VERIFY is set, and a key is not sent to a server that nobody has verified. Unset it, and "
                "set VAULT_CACERT to the certificate of the authority that signed the server's.",
                permanent=True,
            )


_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?")
_PREFIX: Final = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_CONNECT_TIMEOUT: Final = 5.0
_READ_TIMEOUT: Final = 15.0


@dataclass(frozen=True, slots=True)
class VaultServer:
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


def server_from(settings: VaultSettings, namespace: str | None) -> VaultServer:
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
    return VaultServer(
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


def _url(settings: VaultSettings) -> str:
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
