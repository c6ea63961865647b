"""What the author of a plugin writes for the kit: a stand-in for the store, seen from behind the plugin's back."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from mushu import keyformat
from mushu.destination import Attempt, Destination, Holding, Receipt, Secret


class Place(ABC):
    """One spot in a store, empty when made, that a destination names.

    It must outlive a fork: a child that delivers to it and is killed leaves its traces where the parent sees them.
    True of files and of servers on a socket; not of a dictionary.
    """

    @abstractmethod
    def destination(self) -> Destination:
        """Return a new instance of the plugin's class for this spot, as `parse` returns it."""

    @abstractmethod
    def hold(self, value: Secret) -> None:
        """Put `value` at the spot as a stranger would, not by way of the plugin."""

    @abstractmethod
    def stored(self) -> bytes:
        """Return all that is stored at the spot and around it, wherever a reader could find it.

        Left-over temporary files belong to it. A history of versions that the store keeps by design does not.
        """

    @abstractmethod
    def add_neighbours(self) -> None:
        """Put other people's things next to the spot: as near and as odd as the store allows."""

    @abstractmethod
    def neighbours(self) -> object:
        """Return those things as they are now, such that two answers are equal if nothing happened to them."""

    def lose_next_answer(self) -> AbstractContextManager[None]:
        """Return a context in which a write takes effect, but the plugin never hears of it.

        Optional: where a store cannot be made to behave like that, the promise about it is skipped.
        """
        pytest.skip(f"{type(self).__name__} does not know how to lose an answer")


NewPlace = Callable[[], Place]


def new_secret() -> Secret:
    """Return a key such as a destination gets to see."""
    return keyformat.generate(keyformat.Prefix.TEST_KEY)


def attempt_at(holding: Holding) -> Attempt:
    """Return an attempt that expects the destination to be as `holding` says."""
    return Attempt(keyformat.public_id("att"), keyformat.public_id("key"), holding.version)


def deliver(place: Place, secret: Secret) -> Receipt:
    """Write `secret` as a caller does that has just looked."""
    destination = place.destination()
    return destination.write(secret, attempt_at(destination.read()))


def held_digest(place: Place) -> str | None:
    """Return the digest of what the place holds, asked by an instance that has seen nothing before."""
    return place.destination().read().digest
