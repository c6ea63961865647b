"""The page of destinations: who sees and does what, what a look finds, and how an operator adds and removes."""

from pathlib import Path

import pytest
from sqlalchemy import select

from mushu.destination.registry import OpenDestination
from mushu.environment import Environment
from mushu.server.core import Core, db
from mushu.server.db import reading
from mushu.server.delivery import inspection
from mushu.server.delivery.models import Condition
from mushu.server.destinations import DestinationRow, settings_of
from mushu.server.environments import within
from mushu.server.orgs.models import Role
from tests.server.conftest import World
from tests.server.statements import statements
from tests.server.web.dashboard.conftest import Office, Shown
from tests.server.web.dashboard.forms import all_keys, create, place, send
from tests.server.web.dashboard.test_foundation import HOSTILE
from tests.server.web.endpoints import make_operator


def test_each_role_sees_of_a_destination_what_is_for_it(office: Office, world: World, tmp_path: Path) -> None:
    file = place(world, office.org, tmp_path, "mailer-env")
    create(office, way="deliver", to=["mailer-env"])
    page, check = f"{office.home}destinations", f"{office.home}destinations/mailer-env/check"
    assert page in office.page(office.home).links()
    admin = office.browser_of(world.member(office.org, Role.ADMIN))
    for browser in (office.browser, admin):
        shown = Shown(browser.get(page))
        for words in ("mailer-env", "env", "As it should be", "An operator of the server names it"):
            assert words in shown.text
        assert f"{office.home}keys/{all_keys()[0].id}" in shown.links()
        assert str(file) not in shown.html
        assert send(browser, browser.get(page), check).headers["Location"] == page
        assert "mailer-env: it holds its key, as it should." in Shown(browser.get(page)).text
        for path in (page, f"{page}/mailer-env/remove"):
            refused = browser.submit(path)
            assert refused.status_code == 403
            assert "This takes an operator of the server. Nothing was changed." in Shown(refused).text
            browser.get(page)
    assert office.member().get(page).status_code == 403
    assert office.outsider().get(page).status_code == 404
    make_operator(world, office.owner)
    shown = office.page(page)
    assert str(file) in shown.text
    assert f"{page}/mailer-env/remove" in shown.links()
    assert "It holds billing" in office.page(f"{page}/mailer-env/remove").text
    office.browser.get(page)
    refused = office.browser.submit(f"{page}/mailer-env/remove")
    assert refused.status_code == 409
    assert "Delete what is there first" in Shown(refused).text


def test_what_a_look_finds_is_noted_and_said(office: Office, world: World, tmp_path: Path) -> None:
    file = place(world, office.org, tmp_path, "mailer-env")
    create(office, way="deliver", to=["mailer-env"])
    page, check = f"{office.home}destinations", f"{office.home}destinations/mailer-env/check"

    def looked() -> str:
        send(office.browser, office.browser.get(page), check)
        return office.page(page).text

    file.write_text("MUSHU_API_KEY=other\n")
    text = looked()
    assert "mailer-env: Drifted: something else is there. An operator sees why." in text
    assert "mailer-env no longer holds the key of billing." in text
    file.write_text("")
    assert "Drifted: the key is not there any more" in looked()
    file.unlink()
    file.mkdir()
    assert "mailer-env: Does not answer. An operator sees why." in looked()
    make_operator(world, office.owner)
    text = looked()
    assert "An operator sees why" not in text
    assert str(file) in text


def test_the_page_of_a_key_looks_at_all_its_destinations(office: Office, world: World, tmp_path: Path) -> None:
    files = [place(world, office.org, tmp_path, name) for name in ("one-env", "two-env")]
    create(office, way="deliver", to=["one-env", "two-env"])
    key = f"{office.home}keys/{all_keys()[0].id}"
    files[0].write_text("MUSHU_API_KEY=other\n")
    assert send(office.browser, office.browser.get(key), f"{key}/check").headers["Location"] == key
    text = " ".join(office.page(key).text.split())
    assert "Mushu looked at 2 destinations. What is there stands at “Where it is”." in text
    assert "Holds something else, now" in text
    assert "Still there, now" in text
    shown = office.key("shown")
    assert "Check now" not in office.page(f"{office.home}keys/{shown.id}").text
    assert office.browser.submit(f"{office.home}keys/key_nowhere/check").status_code == 404


def test_a_place_without_a_key_is_tried(
    office: Office, world: World, core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place(world, office.org, tmp_path, "mailer-env")
    page, check = f"{office.home}destinations", f"{office.home}destinations/mailer-env/check"
    send(office.browser, office.browser.get(page), check)
    text = office.page(page).text
    assert "mailer-env: it is free, and a key can be put there." in text
    assert "Nothing yet" in text
    file.write_text("MUSHU_API_KEY=other\n")
    file.chmod(0o600)
    send(office.browser, office.browser.get(page), check)
    assert "No key can be put there now. An operator sees why." in office.page(page).text
    opened: OpenDestination = core.open_destination
    assert inspection.refusal_of(opened, f"env:{file}#MUSHU_API_KEY", 9) == ("It holds a value already.")
    assert "No destination plugin takes this" in str(inspection.refusal_of(opened, "nosuch:x", 9))
    file.chmod(0o644)
    assert "chmod" in str(inspection.refusal_of(opened, f"env:{file}#MUSHU_API_KEY", 9))
    monkeypatch.setattr(inspection, "_tried", lambda _: 1 / 0)
    assert inspection.refusal_of(opened, f"env:{file}#MUSHU_API_KEY", 9) == "It does not answer."
    office.browser.get(page)
    assert office.browser.submit(f"{page}/nobody/check").status_code == 404


def test_an_operator_adds_a_destination_with_what_opens_it_and_removes_it(
    office: Office, world: World, core: Core, tmp_path: Path
) -> None:
    make_operator(world, office.owner)
    page = f"{office.sandbox}destinations"
    given = {"name": "mailer-env", "uri": f"env:{tmp_path}/.env", "setting.0": "timeout", "value.0": "5"}
    added = send(office.browser, office.browser.get(page), page, **given)
    assert added.headers["Location"] == page
    text = office.page(page).text
    assert f"mailer-env stands for env:{tmp_path}/.env#MUSHU_API_KEY from now on." in text
    assert "No key can be put there yet" not in text
    assert "mailer-env" not in office.page(f"{office.home}destinations").text.replace("add mailer-env", "")
    with reading(db.session), within(db.session, Environment.TEST):
        row = db.session.scalars(select(DestinationRow)).one()
        assert settings_of(row, core.sealing_keys) == {"timeout": "5"}
        assert row.created_by == f"user {office.owner.id}"
    for wrong, words in (
        ({"uri": "env:.env"}, "Write the path from the root on"),
        ({"name": "No"}, "A name has 1 to 63"),
        ({"name": "mailer-env"}, "stands for"),
        ({"uri": "nosuch:x"}, "No destination plugin takes this"),
        ({"setting.0": ""}, "Each setting has a name"),
        ({"setting.1": "timeout"}, "no name stands there twice"),
        ({"setting.0": "colour"}, "colour"),
    ):
        other = given | {"name": "other", "uri": f"env:{tmp_path}/other"}
        refused = send(office.browser, office.browser.get(page), page, **(other | wrong))
        assert refused.status_code == 422, wrong
        assert words in Shown(refused).text
        assert 'value="5"' not in refused.get_data(as_text=True)
    remove = f"{page}/mailer-env/remove"
    gone = send(office.browser, office.browser.get(remove), remove)
    assert gone.headers["Location"] == page
    text = office.page(page).text
    assert "mailer-env is removed." in text
    assert "No destination yet" in text
    assert office.browser.get(remove).status_code == 404


def test_the_page_is_whole_with_hostile_names_and_costs_the_same_for_one_and_for_many(
    office: Office, world: World, tmp_path: Path
) -> None:
    page = f"{office.home}destinations"
    place(world, office.org, tmp_path, "a0")
    create(office, way="deliver", to=["a0"], name=HOSTILE)
    with statements(db.engine) as one:
        office.page(page)
    for number in range(1, 52):
        place(world, office.org, tmp_path, f"a{number}")
    office.deliver(office.key("late"), Condition.OK)
    with statements(db.engine) as many:
        shown = office.page(page)
    assert len(many) == len(one)
    assert HOSTILE in shown.text
    assert "<script>alert" not in shown.html
    assert "a9" not in [cell.split()[0] for cell in shown.text.split("\n") if cell.startswith("a9")]
    following = next(link for link in shown.links() if "cursor=" in link)
    assert "a9" in office.page(following).text
    assert office.browser.get(f"{page}?cursor=nonsense").status_code == 422


@pytest.mark.fault
def test_where_no_key_can_be_put_the_operator_hears_it_at_once_and_an_admin_not_why(
    office: Office, world: World, tmp_path: Path
) -> None:
    make_operator(world, office.owner)
    page, uri = f"{office.home}destinations", f"env:{tmp_path}/nowhere/.env"
    send(office.browser, office.browser.get(page), page, name="nowhere-env", uri=uri)
    assert f"No key can be put there yet: The folder {tmp_path}/nowhere does not exist." in office.page(page).text
    refused = create(office, way="deliver", to=["nowhere-env"])
    assert f"{tmp_path}/nowhere does not exist. Make it first: `mkdir -p`. No key was created." in Shown(refused).text
    office.browser = office.browser_of(world.member(office.org, Role.ADMIN))
    refused = create(office, way="deliver", to=["nowhere-env"])
    assert refused.status_code == 422
    assert "A destination does not take it now. An operator sees why. No key was created." in Shown(refused).text
    assert str(tmp_path) not in refused.get_data(as_text=True)


@pytest.mark.fault
def test_of_a_key_of_another_organization_no_more_is_told_than_that_it_is_there(
    office: Office, world: World, tmp_path: Path
) -> None:
    """An operator may put one there. Its name, its id and a link that led nowhere were on the pages."""
    file = place(world, office.org, tmp_path, "mailer-env")
    foreign, _ = world.key(world.org(world.user(), "northwind"))
    office.deliver(foreign, Condition.DRIFTED, uri=f"env:{file}#MUSHU_API_KEY")
    make_operator(world, office.owner)
    for path, words in (
        ("destinations", "A key of another organization"),
        ("destinations/mailer-env/remove", "It holds a key of another organization."),
        ("keys/new", "taken by a key of another organization"),
    ):
        page = office.page(office.home + path)
        assert words in page.text
        assert foreign.id not in page.html
        assert "no longer holds" not in page.text
