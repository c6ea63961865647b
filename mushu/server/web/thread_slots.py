"""The slots of requests that wait for somebody else: for a client's connection, a storage, or Apple.

There are as many as the server has threads beyond those of the API, so the API never waits for them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import has_request_context, request

from mushu.server.core import get_core
from mushu.server.errors import Busy
from mushu.server.operation.requests import step_aside


@contextmanager
def thread_slot() -> Iterator[None]:
    """Hold one of the slots for requests that wait for somebody else; it may end after the request does.

    Other threads are told, so that they go on meanwhile.

    Raises:
        Busy: no slot is free. Waiting for one would hold a thread that the API needs.
    """
    places = get_core().places
    if not places.acquire(blocking=False):
        raise Busy("Too many files and notifications are on their way at this moment. Try again shortly.")
    try:
        if has_request_context():
            step_aside(request.environ)
        yield
    finally:
        places.release()
