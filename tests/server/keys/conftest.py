"""An organization, and a key of it that is to make way."""

import pytest

from mushu.server.keys.models import ApiKey
from mushu.server.orgs.models import Organization
from tests.server.conftest import World


@pytest.fixture
def org(world: World) -> Organization:
    return world.org()


@pytest.fixture
def old(world: World, org: Organization) -> ApiKey:
    return world.key(org)[0]
