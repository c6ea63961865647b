"""The conformance kit: what every destination plugin promises, as tests to inherit.

A plugin's author writes one `Place`, the stand-in for the store that the plugin delivers to, and one test class:

    from mushu.testing import DestinationContract, Place

    class TestContract(DestinationContract):
        @pytest.fixture
        def new_place(self, tmp_path):
            numbers = itertools.count()
            return lambda: ShoeboxPlace(tmp_path / str(next(numbers)))

Needs pytest, `mushu.destination` and what these import, nothing else of Mushu; and a POSIX system, because the kit
forks children and kills them. Read on in `place.py` (what to write); each chapter of the promises is a module.
"""

import pytest

# Before the import, or a failing promise would not say which values it compared.
pytest.register_assert_rewrite(
    *(f"mushu.testing.{module}" for module in ("addresses", "crashes", "deliveries", "leaks", "races"))
)

from mushu.testing.addresses import AddressPromises
from mushu.testing.crashes import CrashPromises
from mushu.testing.deliveries import DeliveryPromises, UndoPromises
from mushu.testing.leaks import LeakPromises
from mushu.testing.place import NewPlace, Place
from mushu.testing.races import RacePromises

__all__ = ["DestinationContract", "NewPlace", "Place"]


class DestinationContract(AddressPromises, DeliveryPromises, UndoPromises, RacePromises, CrashPromises, LeakPromises):
    """What Mushu relies on in every destination; each base class is one chapter.

    Override the fixture `new_place`. Override `packages` if the plugin leaves the talking to a library of its own,
    such that a crash inside that library is tried too.
    """

    @pytest.fixture
    def new_place(self) -> NewPlace:
        """Return a function that returns a fresh, empty place each time it is called."""
        raise NotImplementedError("override the fixture new_place: it returns a function that returns a fresh Place")
