"""Naming a place for one environment and bringing a key of the other there, at the same moment: one of them is told."""

import pytest
from sqlalchemy.orm import Session

from mushu.destination import Location
from mushu.destination.target import Target
from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.destinations import DestinationRequest
from mushu.server.errors import DestinationHeld
from mushu.server.keys.minting import KeyRequest, mint_key
from tests.server.conftest import World
from tests.server.orgs.racing import overtake

pytestmark = pytest.mark.database

URI, OTHER = "env:/srv/app/.env#KEY", "env:/srv/other#KEY"


@pytest.mark.fault
@pytest.mark.parametrize("naming_first", [True, False])
def test_the_slower_one_is_refused(world: World, naming_first: bool) -> None:
    from mushu.server.delivery import ledger
    from mushu.server.delivery.named_destinations import add_named
    from mushu.server.delivery.preflight import claim

    org_id = world.org().id

    def name(session: Session) -> None:
        add_named(session, world.clock, SYSTEM, world.core.sealing_keys, DestinationRequest(org_id, "backend", URI))

    def bring(session: Session) -> None:
        """As the courier does when it mints."""
        claim(session, Environment.TEST, [Target.open(world.core.open_destination, uri) for uri in (URI, OTHER)])
        request = KeyRequest(org_id=org_id, name="k", environment=Environment.TEST)
        key, _ = mint_key(session, world.clock, SYSTEM, request)
        session.add(ledger.open_delivery(key.id, URI, Location(), "", world.clock(), world.clock(), SYSTEM))

    faster, slower = (name, bring) if naming_first else (bring, name)
    assert overtake(faster, slower) is DestinationHeld
