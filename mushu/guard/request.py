"""What of a request the guard looks at, read from WSGI's environ or ASGI's scope as the server reads it."""

import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final, TypeAlias

from mushu.credential import Credential, CredentialFault, TwoCredentials, read_headers
from mushu.guard.answer import RequestDenied

#: Of WSGI the environ, of ASGI the scope.
Carrier: TypeAlias = MutableMapping[str, Any]

#: Says that the address of the client is the peer's: there is no proxy in front of the service.
PEER: Final = "peer"
#: No dash, underscore or dot: WSGI and many proxies take all spellings of such a name for one, and a client has others.
_HEADER: Final = re.compile(r"[A-Za-z0-9]{1,64}")


@dataclass(frozen=True, slots=True)
class SentRequest:
    """The headers that carry a credential, and the address of the client where that is known."""

    authorization: str | None
    x_api_key: str | None
    address: str | None

    def credential(self) -> Credential:
        """Return the one credential.

        Raises:
            RequestDenied: there is not exactly one, of the right form.
        """
        try:
            return read_headers(self.authorization, self.x_api_key, only_keys=True)
        except CredentialFault as fault:
            status = HTTPStatus.BAD_REQUEST if isinstance(fault, TwoCredentials) else HTTPStatus.UNAUTHORIZED
            denied = RequestDenied(status, fault.code, fault.title, str(fault))
        raise denied


def checked_source(name: str | None) -> str | None:
    """Return where the client's address is taken from: the peer, a header, or nowhere.

    Raises:
        ValueError: the name of the header is one that a client could spell in another way.
    """
    if name is None or name == PEER or _HEADER.fullmatch(name):
        return name
    raise ValueError(
        f"client_address is PEER, or a header that your proxy sets, of letters and digits only, such as Mushuclientip: "
        f"not {name!r}. A client can send another spelling of a name with a dash, an underscore or a dot."
    )


def sent_with(carrier: Carrier, address_source: str | None) -> SentRequest:
    """Return what the request of an environ or a scope carries."""
    header: Callable[[str], str | None]
    if "headers" not in carrier:  # WSGI has a variable for each
        peer, header = carrier.get("REMOTE_ADDR"), partial(_variable, carrier)
    else:
        peer, header = (carrier.get("client") or (None,))[0], _joined(carrier["headers"]).get
    address = peer if address_source == PEER else header(address_source.lower()) if address_source else None
    return SentRequest(header("authorization"), header("x-api-key"), _address(address))


def carrier_among(given: Iterable[Any]) -> Carrier:
    """Return the environ or scope of the request among the arguments of a function.

    Raises:
        TypeError: there is none.
    """
    for argument in given:
        for carrier in (argument, getattr(argument, "environ", None), getattr(argument, "scope", None)):
            if isinstance(carrier, MutableMapping) and ("REQUEST_METHOD" in carrier or "headers" in carrier):
                return carrier
    raise TypeError(
        "The function gets no request that has an environ (WSGI) or a scope (ASGI). Say where it is: "
        'guard.requires("read", request=lambda: flask.request).'
    )


def _variable(environ: Mapping[str, Any], name: str) -> str | None:
    found: str | None = environ.get(f"HTTP_{name.upper().replace('-', '_')}")
    return found


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by name; one that was sent twice is joined, as WSGI has it, so that neither is chosen."""
    found: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]},{text}" if key in found else text
    return found


def _address(text: object) -> str | None:
    """Return an address as the server takes it; None where it is none, such as that of a Unix socket."""
    try:
        return str(ip_address(text)) if isinstance(text, str) and "%" not in text else None
    except ValueError:
        return None
