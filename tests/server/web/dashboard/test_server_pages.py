"""Pages of the server: there for operators only; what the doctor finds, and the policies of the gate."""

import pytest

from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.gate.policies import PolicyRequest, add_policy, get_policy
from mushu.server.keys import Scope
from mushu.server.operation import doctor, machine_checks
from tests.server.conftest import World
from tests.server.statements import statements
from tests.server.web.asking import SeparateClient
from tests.server.web.dashboard.conftest import Office, Shown
from tests.server.web.dashboard.forms import send
from tests.server.web.endpoints import SERVER_PAGES, make_operator

HEALTH, POLICIES = "/dashboard/server/health", "/dashboard/server/policies"


def test_the_pages_of_the_server_are_there_for_operators_only(office: Office, world: World) -> None:
    people = [office.browser, office.member(), office.outsider()]
    for method, rule in sorted(SERVER_PAGES):
        path = rule.replace("<name>", "x")
        for browser in people:
            refused = browser.client.open(path, method=method)
            assert refused.status_code == 404, path
            assert "Nothing here that you may see" in Shown(refused).text
        nobody = SeparateClient(office.app).open(path, method=method)
        assert nobody.headers.get("Location") == f"/login?next={path}" if method == "GET" else nobody.status_code == 401
    assert HEALTH not in office.page(office.home).links()
    make_operator(world, office.owner)
    assert {HEALTH, POLICIES} <= {*office.page(office.home).links()}
    for path in (HEALTH, POLICIES):
        page = office.page(path)
        assert len(page.all("h1")) == 1
    assert office.browser.client.post(POLICIES).status_code == 400, "a form of another site"


def test_health_is_what_the_doctor_finds_without_what_costs_long(
    office: Office, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_operator(world, office.owner)
    with statements(db.engine) as asked:
        text = office.page(HEALTH).text
    for words in ("Permissions", "Disk", "Schema", "up to date", "Journal", "Not looked at here"):
        assert words in text
    assert not [one for one in asked if "quick_check" in one]
    monkeypatch.setattr(machine_checks, "_ENOUGH_DISK", 1 << 62)
    shown = office.page(HEALTH)
    assert "make room" in shown.text
    assert " to mend" in shown.text
    monkeypatch.setattr(doctor, "LOOKS", ())
    assert "All is well" in office.page(HEALTH).text


def test_an_operator_adds_a_policy_and_removes_it_for_good(office: Office, world: World) -> None:
    make_operator(world, office.owner)
    assert "No policy yet" in office.page(POLICIES).text
    given = {
        "name": "shop",
        "scope": "write",
        "environment": "test",
        "org_id": office.org.id,
        "cli_tokens": "yes",
        "limits": "10/second, 1000/day",
        "over_limit": "429",
    }
    added = send(office.browser, office.browser.get(POLICIES), POLICIES, **given)
    assert added.headers["Location"] == POLICIES
    text = office.page(POLICIES).text
    assert "A proxy asks at /forward-auth/shop." in text
    assert f"Test keys of {office.org.id}, and CLI tokens" in text
    assert "at most 10/second and 1000/day, else 429" in text
    with reading(db.session):
        policy = get_policy(db.session, "shop")
    assert (policy.scope, policy.environment, policy.cli_tokens, policy.created_by) == (
        "write", "test", True, f"user {office.owner.id}",
    )  # fmt: skip
    for wrong, words in (
        ({}, "There is, or was, a policy shop"),
        ({"name": "No"}, "A name has 1 to 63"),
        ({"name": "b", "scope": "root"}, "A scope must be one of"),
        ({"name": "b", "environment": "both"}, "The environment is live or test"),
        ({"name": "b", "over_limit": "500"}, "The answer beyond the limits is 403 or 429"),
        ({"name": "b", "any_org": "yes"}, "not both"),
        ({"name": "b", "limits": "10/second 5/second"}, "There are two limits for one second"),
        ({"name": "b", "org_id": "org_nowhere"}, "There is no organization"),
    ):
        refused = send(office.browser, office.browser.get(POLICIES), POLICIES, **(given | wrong))
        assert refused.status_code == 422, wrong
        assert words in Shown(refused).text
    remove = f"{POLICIES}/shop/remove"
    assert "It denies everybody" in office.page(remove).text
    assert send(office.browser, office.browser.get(remove), remove).headers["Location"] == POLICIES
    assert "The policy shop denies everybody from now on." in office.page(POLICIES).text
    office.browser.get(POLICIES)
    assert office.browser.submit(remove).status_code == 404
    with writing(db.session):
        for number in range(51):
            more = PolicyRequest(name=f"p{number:02}", scope=Scope.READ, org_id=None, any_org=True)
            add_policy(db.session, world.clock, SYSTEM, more)
    following = next(link for link in office.page(POLICIES).links() if "cursor=" in link)
    assert "p50" in office.page(following).text
