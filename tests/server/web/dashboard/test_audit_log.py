"""The audit log: who sees it, what its filters mean, its pages, and its CSV, in which nothing is a formula."""

import csv
import io
import re
from pathlib import Path

import pytest

from mushu.environment import Environment
from mushu.server import audit
from mushu.server.audit import Actor, ActorKind, record
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.orgs.models import Role
from mushu.server.web.dashboard import trail
from tests.server.conftest import World
from tests.server.statements import statements
from tests.server.web.dashboard import test_foundation
from tests.server.web.dashboard.conftest import Office, Shown

HOSTILE = test_foundation.HOSTILE


def add(office: Office, action: str, target: str, *, actor: Actor | None = None, **details: str) -> None:
    with writing(db.session):
        by = actor or Actor(ActorKind.USER, office.owner.id)
        record(db.session, office.world.clock(), by, action, target, org_id=office.org.id, details=details)


def test_the_log_says_what_was_done_by_whom_and_to_which_key(office: Office, world: World) -> None:
    page = f"{office.home}audit"
    live, test = office.key(HOSTILE), office.key("other", environment=Environment.TEST)
    assert f"{office.sandbox}keys/{test.id}" in office.page(office.home).links(), "where it can be seen"
    add(office, "destination.added", "dst_x", actor=Actor(ActorKind.OPERATOR, "root"), name="=cmd()")
    bob = world.member(office.org, Role.ADMIN)
    admin, settings = office.browser_of(bob), f"{office.home}settings"
    admin.get(settings)
    admin.submit(settings, name="acme", max_key_age="90d")
    add(office, "org.transferred", office.org.id, to=bob.id)
    add(office, "invitation.created", "inv_x", role="member")
    add(office, "tenant.created", "ten_{to}")
    assert page in Shown(admin.get(office.home)).links()
    for base in (office.home, office.sandbox):
        shown = Shown(admin.get(f"{base}audit"))
        for words in (
            "Created",
            "created",
            office.owner.email,
            "Added the destination =cmd()",
            "An operator of the",
            f"Let {bob.email} in, as admin",
            "Changed the settings: max key age 90d",
            f"Handed the organization over to {bob.email}",
            "Invited somebody as member",
            "Created the tenant ten_{to}",
        ):
            assert words in shown.text
        assert "root" not in shown.text
        assert HOSTILE in shown.text
        assert "<script>alert" not in shown.html
        assert {f"{office.home}keys/{live.id}", f"{office.sandbox}keys/{test.id}"} <= {*shown.links()}
    assert office.member().get(page).status_code == 403
    assert office.outsider().get(f"{page}.csv").status_code == 404


def test_each_action_that_an_organization_hears_of_has_words() -> None:
    kinds = "key|org|member|invitation|destination|policy|tenant|media"
    code = [path.read_text() for path in Path(audit.__file__).parent.rglob("*.py") if "web" not in path.parts]
    recorded = {name for text in code for name in re.findall(rf'"((?:{kinds})\.[a-z_]+)"', text)}
    assert len(recorded) > 30
    assert recorded <= {*trail._KEY_EVENTS, *trail._OTHER_EVENTS}


def test_filters_are_in_the_address_and_go_through_pages_and_csv(
    office: Office, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, key = f"{office.home}audit", office.key("billing")
    with statements(db.engine) as few:
        office.page(page)
    for number in range(60):
        add(office, "tenant.created", f"ten_{number:03}")
    with statements(db.engine) as many:
        office.page(page)
    assert len(many) == len(few)
    for query, there, away in (
        ("action=tenant", "ten_059", "billing"),
        (f"about={key.id}", "billing", "ten_059"),
        (f"actor={office.owner.id}&action=key", "billing", "ten_059"),
        ("actor=api_key", "No entry fits", "billing"),
        ("since=1d&until=2100-01-01T00:00:00Z&action=key.created", "until 2100-01-01T00:00:00Z", "ten_059"),
    ):
        shown = office.page(f"{page}?{query}")
        assert there in shown.text
        assert away not in shown.text, query
        download = next(link for link in shown.links() if "audit.csv" in link)
        rows = [*csv.DictReader(io.StringIO(office.browser.get(download).get_data(as_text=True)))]
        assert (away in str(rows)) is False
        assert bool(rows) is (there != "No entry fits")
    older = next(link for link in office.page(f"{page}?action=tenant").links() if "cursor=" in link)
    assert "ten_009" in office.page(older).text
    assert "ten_010" not in office.page(older).text
    for wrong in ("since=soon", "colour=red", "actor=" + "x" * 129, "cursor=nonsense"):
        assert office.browser.get(f"{page}?{wrong}").status_code == 422
    monkeypatch.setattr("mushu.server.web.dashboard.audit_log.MOST_OF_CSV", 60)
    for query, named, count in (("action=tenant", "all", 61), ("", "newest-60", 61)):
        answer = office.browser.get(f"{page}.csv?{query}")
        assert answer.headers["Content-Disposition"] == f"attachment; filename=audit-{office.org.id}-{named}.csv"
        assert answer.headers["Cache-Control"] == "no-store"
        assert len(answer.get_data(as_text=True).splitlines()) == count


def test_no_cell_of_the_csv_is_a_formula_and_an_operator_is_not_named(office: Office) -> None:
    for target in ('=HYPERLINK("x")', "+1", "-1", "@SUM(1)", "\t=1", "plain", "مفتاح"):
        add(office, "key.created", target, actor=Actor(ActorKind.OPERATOR, "root"), name="=1+1")
    text = office.browser.get(f"{office.home}audit.csv").get_data(as_text=True)
    assert text.isascii()
    rows = [*csv.DictReader(io.StringIO(text))]
    assert {"plain", '"+1"', '"@SUM(1)"', '"\\t=1"'} <= {row["target_id"] for row in rows}
    assert "root" not in text
    assert {cell[:1] for row in rows for cell in row.values()} <= {*'"{0123456789abcdefghijklmnopqrstuvwxyz', ""}
