"""A server, and how it is spoken to."""

from dataclasses import dataclass

from mushu.address import is_loopback, is_plain
from mushu.cli.faults import Failure


@dataclass(frozen=True, slots=True)
class Place:
    """The server that a command asks."""

    url: str
    #: The file with the certificates to trust instead of the system's, or None.
    ca: str | None
    #: The command line that logs in to it.
    login_command: str


def no_way_in_the_clear(url: str, *, insecure: bool, what: str = "your token and your keys") -> None:
    """Refuse an address where anybody on the way could read what is sent there.

    Raises:
        Failure: it is such an address, and the user did not insist.
    """
    if is_plain(url) and not is_loopback(url) and not insecure:
        raise Failure(
            f"{url} is plain http: everybody on the way could read {what}. Use https://, or add "
            "--insecure if you trust the whole way."
        )
