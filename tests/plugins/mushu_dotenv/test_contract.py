"""The plugin keeps every promise of the contract."""

import itertools
from pathlib import Path
from typing import ClassVar

import pytest

from mushu.testing import DestinationContract, NewPlace
from mushu.testing.deliveries import DeliveryPromises, UndoPromises
from tests.long import LONG
from tests.plugins.mushu_dotenv.places import EnvPlace, MarkedEnvPlace

pytestmark = pytest.mark.unmeasured


class TestContract(DestinationContract):
    each_step: ClassVar[bool] = LONG

    @pytest.fixture
    def new_place(self, tmp_path: Path) -> NewPlace:
        numbers = itertools.count()
        return lambda: EnvPlace(tmp_path / str(next(numbers)))


class TestBelowAByteOrderMark(DeliveryPromises, UndoPromises):
    """What depends on the text of the file; the rest is the same for any text."""

    @pytest.fixture
    def new_place(self, tmp_path: Path) -> NewPlace:
        numbers = itertools.count()
        return lambda: MarkedEnvPlace(tmp_path / str(next(numbers)))
