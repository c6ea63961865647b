"""How much memory something takes."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from tests.conftest import unmeasured

#: How often the collector comes by in a process that has set nothing; the tests have it come by less often.
_THRESHOLDS: Final = (700, 10, 10)


def peak(act: Callable[[], object]) -> int:
    """Return how many bytes more than before were in use at the most."""
    with unmeasured(), _by_itself():  # coverage remembers every thread, and its memory is not ours
        tracemalloc.start()
        try:
            act()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


@contextmanager
def _by_itself() -> Iterator[None]:
    """Let the collector see only what comes from now on.

    It looks at the oldest objects only when they have grown by a quarter: after thousands of tests that is never, and
    garbage that a process of the server's size is soon rid of would count as memory in use. Looking is cheap then, too.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # from here on, a quarter is a quarter of nothing
    thresholds = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
