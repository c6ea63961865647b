"""Places for requests that hold a thread while they wait for somebody else: a client's line, a storage, Apple.

There are as many as the server has threads beyond those of the API, so that however long they wait, the API does not.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from mushu.server.core import get_core
from mushu.server.errors import Busy


@contextmanager
def a_place() -> Iterator[None]:
    """Hold a place for a while; it may end when the request is over already.

    Raises:
        Busy: all are taken; whoever waited for one would hold a thread that the API needs.
    """
    places = get_core().places
    if not places.acquire(blocking=False):
        raise Busy("Too many files and notifications are on their way at this moment. Try again shortly.")
    try:
        yield
    finally:
        places.release()
