"""How much memory something takes."""

import gc
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def peak(act: Callable[[], object]) -> int:
    """Return how many bytes more than before were in use at the most."""
    gc.collect()
    with _unobserved():
        tracemalloc.start()
        try:
            act()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


@contextmanager
def _unobserved() -> Iterator[None]:
    """Keep whoever measures coverage out: it remembers every thread, and its memory is not ours."""
    here, in_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        yield
    finally:
        threading.settrace(in_threads)
        sys.settrace(here)
