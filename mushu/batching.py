"""Many things a few at a time: so that no list is in memory as a whole, and no other thread waits for long."""

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

#: How many of them are in memory at once.
BATCH: Final = 500
#: Seconds that are enough for another thread to take the lock: without any, the same one mostly gets it again.
_REST: Final = 0.0002

Item = TypeVar("Item")


def batches(items: Iterable[Item], first: int | None = None, size: int | None = None) -> Iterator[list[Item]]:
    """Yield the items in lists of `size` at most, else of `BATCH`; the first of them of `first`."""
    size = size or BATCH
    rest, most = iter(items), first or size
    while batch := list(islice(rest, most)):
        yield batch
        most = size


def unhurried(items: Iterable[Item], at_once: int) -> Iterator[Item]:
    """Yield the items, and rest a little after so many: for a thread that works beside those of requests.

    One that computes keeps Python's lock until it is taken away, which is after 5 ms, each time that it gets it.
    """
    for number, item in enumerate(items, 1):
        yield item
        if number % at_once == 0:
            time.sleep(_REST)
