"""All promises in one class to inherit, and the fixture that the author of a plugin fills in."""

import pytest

from mushu.testing.addresses import AddressPromises
from mushu.testing.crashes import CrashPromises
from mushu.testing.deliveries import DeliveryPromises
from mushu.testing.leaks import LeakPromises
from mushu.testing.place import NewPlace
from mushu.testing.races import RacePromises
from mushu.testing.undoing import UndoPromises


class DestinationContract(AddressPromises, DeliveryPromises, UndoPromises, RacePromises, CrashPromises, LeakPromises):
    """What Mushu relies on in every destination; each base class is one chapter.

    Override the fixture `new_place`. Override `packages` if the plugin leaves the talking to a library of its own,
    such that a crash inside that library is tried too.
    """

    @pytest.fixture
    def new_place(self) -> NewPlace:
        """Return a function that returns a fresh, empty place each time it is called."""
        raise NotImplementedError("override the fixture new_place: it returns a function that returns a fresh Place")
