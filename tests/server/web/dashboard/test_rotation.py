"""The page of a rotation in the dashboard: what it says, and more time for the old key."""

from datetime import timedelta

import pytest
from werkzeug.test import TestResponse

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.clock import rfc3339
from mushu.server.core import context_for, db
from mushu.server.db import writing
from mushu.server.keys.rotation import RotationRequest, Terms
from mushu.server.keys.service import get_key
from mushu.server.lifecycle.delete import delete
from mushu.server.lifecycle.rotate import rotate
from tests.conftest import TurnableClock
from tests.server.conftest import World
from tests.server.verbs import BY_CLIENT, show_successor, use_key
from tests.server.web.dashboard.conftest import Office, Shown
from tests.server.web.dashboard.forms import all_keys, send

HOUR = timedelta(hours=1)


def more(page: TestResponse) -> dict[str, str]:
    """Return the moments that the page offers, by their words."""
    shown = Shown(page)
    moments = [button["value"] for button in shown.all("button") if button.get("name") == "until"]
    return dict(zip(("1 more hour", "6 more hours", "1 more day"), moments, strict=False))


def test_a_successor_that_is_deleted_leaves_a_rotation_that_says_so(office: Office, world: World) -> None:
    key, _ = world.key(office.org)
    path = f"{office.home}keys/{key.id}/rotate"
    send(office.browser, office.browser.get(path), path, way="show", old="after")
    new = next(one.id for one in all_keys() if one.id != key.id)
    path = f"{office.home}keys/{new}/delete"
    send(office.browser, office.browser.get(path), path)
    page = office.page(f"{office.home}keys/{key.id}/rotation")
    assert "The new key is over. Create a new key, and delete the old one once that is in use." in page.text


def test_a_rotation_that_nobody_takes_up_has_stalled(office: Office, world: World, clock: TurnableClock) -> None:
    key, _ = world.key(office.org)
    path = f"{office.home}keys/{key.id}/rotate"
    send(office.browser, office.browser.get(path), path, way="show", old="after")
    assert "Neither was used yet." in office.page(f"{office.home}keys/{key.id}/rotation").text
    clock.turn(days=8)
    browser = office.browser_of(office.owner)
    page = Shown(browser.get(f"{office.home}keys/{key.id}/rotation"))
    assert "nobody has used the new key. The old one works on" in page.text
    assert f"{office.home}keys/{key.id}/delete" in page.links()
    listed = Shown(browser.get(f"{office.home}keys?state=retiring"))
    assert f"{office.home}keys/{key.id}/rotation" in listed.links()
    assert "Rotation stalled a day ago: nobody has used the new key. Watch it" in listed.text


def test_the_old_key_is_given_more_time_and_the_same_form_again_gives_no_more(
    office: Office, world: World, clock: TurnableClock
) -> None:
    key, _ = world.key(office.org, environment=Environment.TEST)
    new = show_successor(context_for(SYSTEM), key.id, Terms()).key
    home = f"{office.home}sandbox/keys/{key.id}/"
    page = office.browser.get(f"{home}rotation")
    assert "The old key needs no more time: it has no end before the new one is used." in Shown(page).text
    assert more(page) == {}
    use_key(new.id, clock())
    page = office.browser.get(f"{home}rotation")
    offered = more(page)
    assert [*offered.values()] == [(clock() + hours * HOUR).isoformat() for hours in (2, 7, 25)]
    for _ in range(2):
        answer = send(office.browser, page, f"{home}extend", until=offered["6 more hours"])
        assert (answer.status_code, answer.headers["Location"]) == (303, f"{home}rotation")
    assert [one.retires_at for one in all_keys() if one.id == key.id] == [clock() + 7 * HOUR]
    page = office.browser.get(f"{home}rotation")
    shown = Shown(page).text
    assert f"The old key of {key.name} works until {rfc3339(clock() + 7 * HOUR)}." in shown
    assert "It ends in 7 hours." in shown
    assert "Given more time, until" in office.page(f"{office.home}sandbox/keys/{key.id}").text
    for until, words in (
        (offered["1 more hour"], "works until"),
        ((clock() + timedelta(days=400)).isoformat(), "at the latest: a year from now"),
        ("soon", "A moment is written as"),
    ):
        answer = send(office.browser, page, f"{home}extend", until=until)
        assert (answer.status_code, words in Shown(answer).text) == (422, True)
    assert office.browser.client.post(f"{home}extend", data={"until": offered["1 more day"]}).status_code == 400
    assert [one.retires_at for one in all_keys() if one.id == key.id] == [clock() + 7 * HOUR]


def test_no_more_time_is_offered_than_the_old_key_may_have_and_none_once_it_ended(
    office: Office, world: World, clock: TurnableClock
) -> None:
    key, _ = world.key(office.org, lives_seconds=3 * 3600)
    use_key(show_successor(context_for(SYSTEM), key.id, Terms()).key.id, clock())
    path = f"{office.home}keys/{key.id}/rotation"
    page = office.browser.get(path)
    assert "at the latest: then it expires." in Shown(page).text
    assert [*more(page)] == ["1 more hour"]
    clock.turn(hours=1)
    refused = send(office.browser, page, f"{office.home}keys/{key.id}/extend", until=more(page)["1 more hour"])
    assert refused.status_code == 422
    assert "The old key is over." in Shown(refused).text
    assert more(refused) == {}


@pytest.mark.fault
def test_a_key_that_is_over_is_said_to_work_nowhere(office: Office, world: World, clock: TurnableClock) -> None:
    """The new key was "in its place" after it was deleted, and the old one of a failed rotation "worked on"."""
    first, failed, ended = (world.key(office.org, lives_seconds=90 * 86_400)[0].id for _ in range(3))
    second = show_successor(context_for(SYSTEM), first, Terms(at_once=True)).key.id
    unproven = rotate(context_for(SYSTEM), RotationRequest(key_id=failed, terms=Terms()), BY_CLIENT).key.id
    third = show_successor(context_for(SYSTEM), ended, Terms()).key.id
    watched = {key_id: f"{office.home}keys/{key_id}/rotation" for key_id in (second, unproven, third)}
    assert "The old key is over. The new one is in its place." in office.page(watched[second]).text
    for key_id in (second, unproven, failed):
        delete(context_for(SYSTEM), key_id)
    with writing(db.session):
        get_key(db.session, third).expires_at = clock()
    assert "The old key is over. The new one is over, too." in office.page(watched[second]).text
    assert "The new key could not be delivered. The old one is over since." in office.page(watched[unproven]).text
    assert "The new key is over. Create a new key" in office.page(watched[third]).text
