"""Acting as another user, for tests that root runs."""

import os
from collections.abc import Callable

import pytest

from mushu.destination import DestinationError
from mushu.testing.processes import fork, wait_for

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as two users")


def as_nobody(act: Callable[[], object]) -> str:
    """Run `act` as a user without rights and return what it refused with, or an empty string."""
    reading, writing = os.pipe()

    def work() -> int:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            act()
        except DestinationError as error:
            os.write(writing, str(error).encode())
        return 0

    child = fork(work)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        said = pipe.read()
    assert wait_for(child) == 0
    return said
