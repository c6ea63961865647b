"""What the tests of the stub share."""

from collections.abc import Iterator

import pytest

from tests.vault.places import Place, place_at_real, place_at_stub
from tests.vault.server import VaultStub


@pytest.fixture(params=["stub", "real"])
def bare_place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """The stub, and the real server; nothing is mounted yet."""
    opened = place_at_stub() if request.param == "stub" else place_at_real(request.getfixturevalue("openbao"))
    with opened as place:
        yield place


@pytest.fixture
def place(bare_place: Place) -> Place:
    """A mount of version 2."""
    bare_place.server.mount(bare_place.mount)
    return bare_place


@pytest.fixture
def plain_place(bare_place: Place) -> Place:
    """A mount of version 1."""
    bare_place.server.mount(bare_place.mount, version=1)
    return bare_place


@pytest.fixture
def stub_place() -> Iterator[Place]:
    """The stub alone, for what no real server would let a test do."""
    with place_at_stub() as place:
        place.server.mount(place.mount)
        yield place


@pytest.fixture
def stub(stub_place: Place) -> VaultStub:
    """The stub of `stub_place`, behind the scenes."""
    assert isinstance(stub_place.server, VaultStub)
    return stub_place.server
