"""A client for one of the services, made from an API key: what `mushu.client` does.

The key goes to an address that somebody has named and to no other: there is no default, plain http leaves this machine
never, redirects are not followed, and on the way to loopback no proxy is asked. A test key talks to the sandbox, the
same API under another path. What can be wrong is said before the first request, as an `SdkError`: `UnknownService`,
`BadCredential` or `BadAddress`. No message, representation or traceback of ours repeats the key.

Standard library and `mushu.keyformat` only, until the package of the service is imported.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Final

from mushu.address import host_in_url, is_loopback, is_plain, normalized
from mushu.keyformat import Prefix, WrongChecksum, WrongFormat, parse

if TYPE_CHECKING:
    from mushu.core import AuthenticatedClient as CoreClient
    from mushu.media import AuthenticatedClient as MediaClient
    from mushu.notify import AuthenticatedClient as NotifyClient

SERVICES: Final = ("core", "notify", "media")
URL_VARIABLE: Final = "MUSHU_URL"
SANDBOX: Final = "/sandbox"
_CONNECT: Final = 10.0
#: What stands before a credential in the Authorization header.
_SCHEMES: Final = {Prefix.LIVE_KEY: "ApiKey", Prefix.TEST_KEY: "ApiKey", Prefix.CLI_TOKEN: "Bearer"}


class SdkError(ValueError):
    """No client can be made of this; the message says what to change, and each of its kinds which argument it is."""


class UnknownService(SdkError):
    """There is no package of that name."""


class BadCredential(SdkError):
    """There is no API key, or a mistyped one."""


class BadAddress(SdkError):
    """No server is named, or one that a key may not be sent to."""


def make_client(
    service: str, api_key: str, base_url: str | None, timeout: float
) -> "CoreClient | NotifyClient | MediaClient":
    """Return the client of a service.

    Raises:
        UnknownService, BadCredential, BadAddress: one of the arguments, or what stands for it in the environment.
    """
    if service not in SERVICES:
        raise UnknownService(f"There is no service {service!r}. There are {', '.join(SERVICES)}.")
    prefix = prefix_of(api_key)
    url = server_address(service, base_url)
    package = import_module(f"mushu.{service}")
    import httpx

    made: CoreClient | NotifyClient | MediaClient = package.AuthenticatedClient(
        url.removesuffix(SANDBOX) + SANDBOX if prefix is Prefix.TEST_KEY else url,
        api_key,
        _SCHEMES[prefix],
        timeout=httpx.Timeout(timeout, connect=min(timeout, _CONNECT)),
        headers={"User-Agent": "mushu-python"},
        # A proxy must not see what never leaves the machine.
        httpx_args={"mounts": {f"all://{host_in_url(url)}": None}} if is_loopback(url) else {},
    )
    return made


def prefix_of(api_key: str) -> Prefix:
    """Return what an API key or CLI token begins with.

    Raises:
        BadCredential: it is neither.
    """
    if not api_key:  # None, too: what os.environ.get answers
        raise BadCredential("There is no API key: api_key is empty. Is the variable that it comes from set?")
    try:
        prefix = parse(api_key)
    except WrongFormat:
        reason = "api_key is no API key: one is msk_live_ or msk_test_ and 28 letters and digits, no line break either."
    except WrongChecksum:
        reason = "api_key is mistyped, or a part of it is missing: its last six characters do not fit the others."
    else:
        if prefix in _SCHEMES:
            return prefix
        reason = f"api_key is no API key: what begins with {prefix} is good for something else."
    raise BadCredential(reason)  # here, where no traceback leads to where the key was looked at


def server_address(service: str, given: str | None) -> str:
    """Return the address of the server: the argument, the variable of the service, or the one for all.

    Raises:
        BadAddress: none is named, or one that a key may not be sent to.
    """
    named = [("base_url", given or "")]
    named += [(name, os.environ.get(name, "")) for name in (f"MUSHU_{service.upper()}_URL", URL_VARIABLE)]
    for source, text in named:
        if text.strip():
            return _safe(source, text)
    raise BadAddress(
        f"No server is named. Set {URL_VARIABLE}, for example to https://mushu.example.com, or MUSHU_"
        f"{service.upper()}_URL where {service} stands elsewhere, or give base_url."
    )


def _safe(source: str, text: str) -> str:
    try:
        url = normalized(text)
    except ValueError as error:
        raise BadAddress(f"{source} is no address of a server. {error}") from None
    if is_plain(url) and not is_loopback(url):
        raise BadAddress(f"{source}: {url} is plain http, and everybody on the way could read the key. Use https://.")
    return url
