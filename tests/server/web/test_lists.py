"""Lists over HTTP come in pages, all of them in the same way."""

from itertools import count

import pytest

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.destinations import DestinationRequest, add
from mushu.server.environments import within
from mushu.server.keys import Scope
from mushu.server.orgs.invitations import InvitationTerms, invite_by_link
from mushu.server.orgs.models import Role
from tests.server.web.asking import answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

_NUMBERS = count()
LISTS = [
    ("/orgs", "orgs"),
    ("/orgs/{org}/members", "members"),
    ("/sandbox/orgs/{org}/members", "members"),
    ("/orgs/{org}/invites", "invites"),
    ("/auth/tokens", "tokens"),
    ("/orgs/{org}/destinations", "destinations"),
    ("/orgs/{org}/api-keys", "api_keys"),
]


@pytest.fixture
def full(house: House, stage: Stage) -> Stage:
    """Three of each, and more."""
    world, org = house.world, stage.organization
    for _ in range(3):
        world.org(stage.owner)
        world.member(org, Role.MEMBER)
        world.token(stage.owner)
        world.key(org, Scope.READ)
        with within(db.session, Environment.LIVE), writing(db.session):
            invite_by_link(db.session, world.clock, SYSTEM, org, InvitationTerms("member"))
            place = DestinationRequest(org.id, f"place-{next(_NUMBERS)}", f"env:/srv/{next(_NUMBERS)}/.env#KEY")
            add(db.session, world.clock, SYSTEM, world.core.sealing_keys, place)
        house.clock.turn(seconds=1)
    return stage


@pytest.mark.database
@pytest.mark.parametrize(("path", "field"), LISTS)
def test_pages_hold_what_the_whole_list_holds(house: House, full: Stage, path: str, field: str) -> None:
    where, cursor = path.format_map(full), ""
    found: list[object] = []
    whole = answer(house.client.get(where, headers=full.headers))
    while True:
        page = answer(house.client.get(f"{where}?limit=2{cursor}", headers=full.headers))
        assert len(page[field]) <= 2
        found += page[field]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert whole["next_cursor"] is None
    assert found == whole[field]
    assert len(found) >= 3
    refusal(house.client.get(f"{where}?cursor=!", headers=full.headers), 422, "invalid_input")


def test_keys_are_filtered_as_the_command_filters_them(house: House, full: Stage) -> None:
    key = house.world.key(full.organization, Scope.WRITE, Scope.ADMIN)[0]
    house.world.key(full.organization, Scope.ADMIN, environment=Environment.TEST)
    where = f"/orgs/{full.org}/api-keys"
    for query, many in (("scope=admin", 1), ("scope=read&state=active", 3), ("state=revoked", 0), ("name=%25", 0)):
        found = answer(house.client.get(f"{where}?{query}", headers=full.headers))["api_keys"]
        assert len(found) == many, query
    (found,) = answer(house.client.get(f"{where}?scope=admin&name=k", headers=full.headers))["api_keys"]
    assert found["key_id"] == key.id
    refusal(house.client.get(f"{where}?state=alive", headers=full.headers), 422, "invalid_input")
