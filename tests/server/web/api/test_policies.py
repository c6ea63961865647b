"""Policies over HTTP: for operators of the server only."""

from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.users.service import get_user, remove_operator
from tests.server.conftest import World, bearer
from tests.server.web.asking import SeparateClient, answer, refusal
from tests.server.web.endpoints import make_operator


def test_an_operator_adds_lists_shows_and_removes(client: SeparateClient, world: World) -> None:
    owner = world.user()
    org = world.org(owner)
    headers = bearer(world.token(owner))
    asked = {"name": "reports", "org_id": org.id, "scope": "read"}
    refusal(client.post("/policies", json=asked, headers=headers), 403, "operator_required")
    make_operator(world, owner)
    added = answer(client.post("/policies", json=asked, headers=headers))
    assert added["environment"] == "live"
    assert answer(client.get("/policies", headers=headers)) == {"policies": [added], "next_cursor": None}
    refusal(client.post("/policies", json=asked, headers=headers), 409, "name_taken")
    removed = answer(client.delete("/policies/reports", headers=headers))
    assert removed == added | {"removed_at": "2026-01-15T10:30:00Z"}
    assert answer(client.get("/policies/reports", headers=headers)) == removed
    refusal(client.delete("/policies/reports", headers=headers), 404, "policy_not_found")
    refusal(client.post("/policies", json=asked, headers=headers), 409, "name_taken")
    with writing(db.session):
        remove_operator(db.session, world.clock, SYSTEM, get_user(db.session, owner.id))
    refusal(client.get("/policies", headers=headers), 403, "operator_required")


def test_any_organization_must_be_meant(client: SeparateClient, world: World) -> None:
    owner = world.user()
    make_operator(world, owner)
    headers, org_id = bearer(world.token(owner)), world.org(owner).id
    for asked in (
        {},
        {"org_id": org_id, "any_org": True},
        {"any_org": True, "cli_tokens": True},
        {"org_id": org_id, "scope": "everything"},
        {"org_id": org_id, "name": "../x"},
    ):
        wrong = client.post("/policies", json={"name": "p", "scope": "read"} | asked, headers=headers)
        refusal(wrong, 422, "invalid_input")
    refusal(
        client.post("/policies", json={"name": "p", "scope": "read", "org_id": "org_x"}, headers=headers),
        404, "org_not_found",
    )  # fmt: skip
    assert answer(client.post("/policies", json={"name": "p", "scope": "read", "any_org": True}, headers=headers))
