"""Many things a few at a time: so that no list is in memory as a whole."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

#: How many of them are in memory at once.
BATCH: Final = 500

Item = TypeVar("Item")


def batches(items: Iterable[Item], first: int | None = None) -> Iterator[list[Item]]:
    """Yield the items in lists of `BATCH` at most, the first of them of `first`."""
    rest, most = iter(items), first or BATCH
    while batch := list(islice(rest, most)):
        yield batch
        most = BATCH
