"""The plugin keeps every promise of the contract."""

import itertools
from pathlib import Path

import pytest

from mushu.testing import DestinationContract, NewPlace
from tests.plugins.mushu_dotenv.places import EnvPlace, MarkedEnvPlace


class TestContract(DestinationContract):
    @pytest.fixture
    def new_place(self, tmp_path: Path) -> NewPlace:
        numbers = itertools.count()
        return lambda: EnvPlace(tmp_path / str(next(numbers)))


class TestContractBelowAByteOrderMark(DestinationContract):
    @pytest.fixture
    def new_place(self, tmp_path: Path) -> NewPlace:
        numbers = itertools.count()
        return lambda: MarkedEnvPlace(tmp_path / str(next(numbers)))
