"""Named destinations over HTTP: their names can be seen, and nothing can be named there."""

from itertools import product

import pytest

from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server import destinations as service
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.destinations import DestinationRequest
from mushu.server.keys import Scope
from mushu.server.orgs.models import Organization
from tests.server.conftest import World, api_key
from tests.server.web.asking import SeparateClient, all_rows, answer, refusal

pytestmark = pytest.mark.unmeasured


def name(
    world: World, org: Organization, called: str, environment: Environment = Environment.LIVE, **settings: str
) -> None:
    given = {setting: Secret(value) for setting, value in settings.items()}
    place = DestinationRequest(org.id, called, f"env:/srv/{org.id}/{environment}-{called}/.env#KEY", given, environment)
    with writing(db.session):
        service.add(db.session, world.clock, SYSTEM, world.core.sealing_keys, place)


@pytest.mark.parametrize(("prefix", "environment"), [("", Environment.LIVE), ("/sandbox", Environment.TEST)])
def test_it_works(client: SeparateClient, world: World, prefix: str, environment: Environment) -> None:
    org, other = world.org(), world.org()
    for its in Environment:
        name(world, org, "b", its, token="hunter2")
        name(world, other, "c", its)
    name(world, org, "a", environment)
    key = world.key(org, Scope.ADMIN, environment=environment)[1]
    response = client.get(f"{prefix}/orgs/{org.id}/destinations", headers=api_key(key))
    assert answer(response) == {
        "destinations": [
            {
                "name": called,
                "uri": f"env:/srv/{org.id}/{environment}-{called}/.env#KEY",
                "created_at": "2026-01-15T10:30:00Z",
            }
            for called in ("a", "b")
        ],
        "next_cursor": None,
    }
    assert "hunter2" not in response.get_data(as_text=True)


def test_those_of_another_organization_are_not_there_and_an_empty_list_is_one(
    client: SeparateClient, world: World
) -> None:
    mine, theirs = world.org(), world.org()
    name(world, theirs, "secret-place")
    headers = api_key(world.key(mine, Scope.ADMIN)[1])
    assert answer(client.get(f"/orgs/{mine.id}/destinations", headers=headers)) == {
        "destinations": [],
        "next_cursor": None,
    }
    refusal(client.get(f"/orgs/{theirs.id}/destinations", headers=headers), 404, "org_not_found")


def test_nothing_can_be_named_or_changed_over_http(client: SeparateClient, world: World) -> None:
    org = world.org()
    name(world, org, "a")
    headers = api_key(world.key(org, *Scope)[1])
    before = all_rows()["destinations"]
    body = {"name": "b", "uri": "env:/etc/passwd#KEY"}
    for prefix, method, path in product(
        ("", "/sandbox"), ("POST", "PUT", "PATCH", "DELETE"), ("destinations", "destinations/a")
    ):
        response = client.open(f"{prefix}/orgs/{org.id}/{path}", method=method, json=body, headers=headers)
        assert response.status_code in (404, 405)
    assert all_rows()["destinations"] == before
