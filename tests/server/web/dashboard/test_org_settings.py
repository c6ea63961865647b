"""Settings of an organization: who reads and who changes them, and how its owner deletes it."""

from datetime import timedelta

import pytest

from mushu.server.audit import EventFilter, list_events
from mushu.server.core import db
from mushu.server.db import reading
from mushu.server.orgs.models import Role
from mushu.server.orgs.service import find_org
from mushu.server.orgs.settings import Rules, rules_of
from mushu.server.paging import Window
from tests.server.conftest import World, api_key
from tests.server.web.dashboard.conftest import Office, Shown
from tests.server.web.dashboard.forms import send

GIVEN = {
    "name": "acme", "max_key_age": "120d", "default_lifetime": "60d", "default_rotate_every": "", "scope": ["read"],
    "email_domains": "Example.com, example.org",
}  # fmt: skip


def rules(office: Office) -> Rules:
    with reading(db.session):
        return rules_of(db.session, office.org.id)


def actions(office: Office) -> list[str]:
    with reading(db.session):
        return [event.action for event in list_events(db.session, EventFilter(office.org.id), Window(100)).rows]


def test_an_admin_changes_settings_and_a_member_reads_them(office: Office, world: World) -> None:
    page = f"{office.home}settings"
    assert page in office.page(office.home).links()
    admin, member = office.browser_of(world.member(office.org, Role.ADMIN)), office.member()
    saved = send(admin, admin.get(page), page, **GIVEN)
    assert saved.headers["Location"] == page
    assert "Saved." in Shown(admin.get(page)).text
    assert rules(office) == Rules(
        max_key_age=timedelta(days=120),
        default_lifetime=timedelta(days=60),
        default_scopes=("read",),
        email_domains=("example.com", "example.org"),
    )
    values = {field["name"]: field for field in Shown(admin.get(page)).all("input") if "name" in field}
    assert {name: values[name]["value"] for name in ("max_key_age", "default_lifetime", "default_rotate_every")} == {
        "max_key_age": "120d", "default_lifetime": "60d", "default_rotate_every": "",
    }  # fmt: skip
    assert ("checked" in values["scope.read"], "checked" in values["scope.write"]) == (True, False)
    before = actions(office)
    assert send(admin, admin.get(page), page, **GIVEN).status_code == 303
    assert actions(office) == before, "what is as it was is no change"
    shown = Shown(member.get(page))
    for words in ("120d", "60d", "never", "example.com, example.org", "The owner and admins change them."):
        assert words in shown.text
    assert member.submit(page, name="theirs").status_code == 403
    assert office.outsider().get(page).status_code == 404
    for path, browser, status in (("delete", admin, 403), ("delete", member, 403), ("", admin, 200)):
        assert browser.get(f"{page}/{path}").status_code == status


def test_what_is_wrong_is_said_and_nothing_is_changed(office: Office) -> None:
    page = f"{office.home}settings"
    for wrong, words in (
        ({"max_key_age": "long"}, "A duration is a whole number"),
        ({"max_key_age": "30d"}, "no longer than keys may live"),
        ({"scope": ["root"]}, "read, write, admin"),
        ({"email_domains": "not_a_domain"}, "Domains look like example.com"),
        ({"name": ""}, "name"),
    ):
        refused = send(office.browser, office.browser.get(page), page, **(GIVEN | {"name": "other"} | wrong))
        assert refused.status_code == 422, wrong
        assert words in Shown(refused).text
        assert 'value="60d"' in refused.get_data(as_text=True), "what was typed is still there"
    assert rules(office) == Rules()
    send(office.browser, office.browser.get(page), page, **(GIVEN | {"name": "other", "max_key_age": ""}))
    assert "other" in office.page(page).text
    with reading(db.session):
        found = find_org(db.session, office.org.id)
        assert found is not None
        assert found.name == "other"


@pytest.mark.fault
def test_what_another_admin_has_changed_meanwhile_is_not_taken_back(office: Office, world: World) -> None:
    """The form was saved as a whole: who renamed the organization took back the limits that were set since."""
    page, admin = f"{office.home}settings", office.browser_of(world.member(office.org, Role.ADMIN))
    opened_before = office.browser.get(page)
    send(admin, admin.get(page), page, **GIVEN)
    kept = {"max_key_age": "", "default_lifetime": "", "default_rotate_every": "", "email_domains": ""}
    wrong = send(office.browser, opened_before, page, **kept | {"name": "renamed", "default_rotate_every": "x"})
    assert wrong.status_code == 422
    for _ in range(2):
        assert send(office.browser, wrong, page, **kept | {"name": "renamed"}).status_code == 303
    assert rules(office).max_key_age == timedelta(days=120)
    assert rules(office).default_scopes == ("read",)
    assert actions(office)[:2] == ["org.renamed", "org.settings_changed"]
    late = send(office.browser, opened_before, page, **kept | {"name": "acme", "email_domains": "example.net"})
    assert late.status_code == 303
    assert "renamed" in office.page(page).text, "nobody asked for another name"
    assert rules(office).email_domains == ("example.net",)


def test_the_owner_deletes_the_organization_by_typing_its_name(office: Office, world: World) -> None:
    _, plaintext = world.key(office.org)
    page = f"{office.home}settings/delete"
    assert page in office.page(f"{office.home}settings").links()
    assert "1 key is refused from the next request on" in office.page(page).text
    refused = send(office.browser, office.browser.get(page), page, confirm="ACME")
    assert refused.status_code == 422
    assert "That is neither its name nor its id. Nothing was deleted." in Shown(refused).text
    done = send(office.browser, office.browser.get(page), page, confirm=" acme ")
    assert done.headers["Location"] == "/dashboard"
    assert "acme is deleted, with all its keys." in office.page("/dashboard").text
    assert office.browser.get(page).status_code == 404
    assert office.app.test_client().get("/orgs", headers=api_key(plaintext)).status_code == 401
