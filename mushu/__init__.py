"""Mushu: a self-hosted authority for API keys.

What is imported here is paid for by every client, so nothing is: the server stands in `mushu.server`, the contract
for destination plugins in `mushu.destination`, the format of keys in `mushu.keyformat`. `client` opens the SDK, whose
packages are `mushu.core`, `mushu.notify` and `mushu.media`; no module may have its name, or take its place.
"""

from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    from mushu.core import AuthenticatedClient as CoreClient
    from mushu.media import AuthenticatedClient as MediaClient
    from mushu.notify import AuthenticatedClient as NotifyClient


@overload
def client(
    service: Literal["core"], *, api_key: str, base_url: str | None = None, timeout: float = 30.0
) -> "CoreClient": ...
@overload
def client(
    service: Literal["notify"], *, api_key: str, base_url: str | None = None, timeout: float = 30.0
) -> "NotifyClient": ...
@overload
def client(
    service: Literal["media"], *, api_key: str, base_url: str | None = None, timeout: float = 30.0
) -> "MediaClient": ...
def client(
    service: str, *, api_key: str, base_url: str | None = None, timeout: float = 30.0
) -> "CoreClient | NotifyClient | MediaClient":
    """Return a client for the functions of `mushu.core`, `mushu.notify` or `mushu.media`; nothing is sent yet.

    Args:
        service: `core`, `notify` or `media`.
        api_key: `msk_live_…`, or `msk_test_…` for the sandbox. A CLI token, `mct_…`, acts as the user, on live data.
        base_url: the address of the server; left out, it is MUSHU_CORE_URL, MUSHU_NOTIFY_URL or MUSHU_MEDIA_URL by
            the service, or else MUSHU_URL.
        timeout: seconds to wait for each step of a request.

    Raises:
        mushu.sdk.SdkError: a ValueError that says which argument or variable to mend, and never repeats the key.
    """
    from mushu.sdk import make_client

    return make_client(service, api_key, base_url, timeout)


def __getattr__(name: str) -> Any:
    """Return `mushu.__version__`, which the installed package knows; nothing is looked up before it is asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("mushu")
    raise AttributeError(f"module 'mushu' has no attribute {name!r}")
