"""The conformance kit: what every destination plugin promises, as tests to inherit.

A plugin's author writes one `Place`, the stand-in for the store that the plugin delivers to, and one test class:

    from mushu.testing import DestinationContract, Place

    class TestContract(DestinationContract):
        @pytest.fixture
        def new_place(self, tmp_path):
            numbers = itertools.count()
            return lambda: ShoeboxPlace(tmp_path / str(next(numbers)))

Needs pytest, `mushu.destination` and what these import, nothing else of Mushu; and a POSIX system, because the kit
forks children and kills them. Read on in `place.py` (what to write) and `contract.py` (what is promised).
"""

import pytest

# Before the import, or a failing promise would not say which values it compared.
pytest.register_assert_rewrite(
    *(f"mushu.testing.{module}" for module in ("addresses", "crashes", "deliveries", "leaks", "races", "undoing"))
)

from mushu.testing.contract import DestinationContract  # noqa: E402
from mushu.testing.place import NewPlace, Place  # noqa: E402

__all__ = ["DestinationContract", "NewPlace", "Place"]
