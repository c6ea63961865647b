"""Rotating a key in the dashboard: where the new one goes, how long the old one works, and who uses which."""

from datetime import timedelta
from pathlib import Path

import pytest

from mushu.keyformat import CREDENTIAL_PATTERN
from mushu.server.keys.states import State
from tests.conftest import TurnableClock
from tests.server.conftest import World
from tests.server.verbs import use_key
from tests.server.web.dashboard.conftest import Office, Shown
from tests.server.web.dashboard.forms import all_keys, create, hidden_of, place, send
from tests.server.web.endpoints import make_operator

DAY = timedelta(days=1)


def test_a_delivered_key_is_rotated_in_its_place_unseen_and_watched_to_its_end(
    office: Office, world: World, clock: TurnableClock, tmp_path: Path
) -> None:
    file = place(world, office.org, tmp_path, "mailer-env")
    create(office, way="deliver", to=["mailer-env"], expires="30d")
    old, before = all_keys()[0], file.read_text()
    clock.turn(days=10)
    office.browser = office.browser_of(office.owner)
    use_key(old.id, clock(), "192.0.2.1")
    use_key(old.id, clock() + timedelta(minutes=1), "192.0.2.2")
    path, watched = f"{office.home}keys/{old.id}/rotate", f"{office.home}keys/{old.id}/rotation"
    assert office.browser.get(watched).status_code == 404
    form = office.browser.get(path)
    assert "It is written over the old one at mailer-env" in Shown(form).text
    answer = send(office.browser, form, path, way="same", old="after", settle="1h")
    assert answer.headers["Location"] == watched
    new = all_keys()[1]
    assert new.expires_at == clock() + 30 * DAY, "the same length of life"
    assert (new.name, file.read_text() != before, new.stored_state) == (old.name, True, State.ACTIVE)
    listed = office.page(f"{office.home}keys").text
    assert "Nowhere any more" in listed
    assert "Shown" not in listed, "it was written over, and nobody has seen it"
    page = office.page(watched)
    assert "The new key waits for its first use." in page.text
    assert next(one for one in page.all("div") if one.get("id") == "live")["hx-trigger"] == "every 5s"
    assert "hx-get" not in office.page(f"{watched}?live=no").html
    use_key(new.id, clock() + timedelta(minutes=2), "192.0.2.2")
    page = office.page(f"{office.home}keys/{new.id}/rotation")
    assert "1 address still uses the old key: 192.0.2.1." in page.text
    assert "It ends in an hour." in page.text
    assert page.text.index("192.0.2.1") < page.text.index("192.0.2.2")
    use_key(new.id, clock() + timedelta(minutes=3), "192.0.2.1")
    assert "Nobody uses the old key any more." in office.page(watched).text
    again = send(office.browser, form, path, way="same", old="after", settle="1h")
    assert (again.headers["Location"], len(all_keys())) == (watched, 2), "the same form makes nothing"
    clock.turn(hours=2)
    page = office.page(watched)
    assert "The old key is over." in page.text
    assert "hx-get" not in page.html
    assert not CREDENTIAL_PATTERN.search(page.html + form.get_data(as_text=True) + answer.get_data(as_text=True))


def test_a_key_that_was_shown_is_rotated_by_showing_another_once(office: Office, world: World) -> None:
    key, _ = world.key(office.org)
    path = f"{office.home}keys/{key.id}/rotate"
    form = office.browser.get(path)
    assert "Where the old one is" not in Shown(form).text
    answer = send(office.browser, form, path, way="show", old="after", settle="1d")
    html = answer.get_data(as_text=True)
    assert len(CREDENTIAL_PATTERN.findall(html)) == 1
    assert "The old key works until this one was seen in use" in html
    again = send(office.browser, form, path, way="show", old="after", settle="1d")
    assert again.status_code == 410
    assert not CREDENTIAL_PATTERN.search(again.get_data(as_text=True))
    new = next(one.id for one in all_keys() if one.id != key.id)
    assert "rotate the new key in turn" in Shown(again).text, "to delete it leaves the old one to make way for nothing"
    assert f"{office.home}keys/{new}/rotate" in Shown(again).links()
    assert {one.id == key.id: one.stored_state for one in all_keys()} == {True: State.RETIRING, False: State.ACTIVE}


def test_a_successor_that_was_lost_is_rotated_in_turn_for_the_old_key_must_not_make_way_for_nothing(
    office: Office, world: World
) -> None:
    key, _ = world.key(office.org)
    path = f"{office.home}keys/{key.id}/rotate"
    answer = send(office.browser, office.browser.get(path), path, way="show", old="after")
    new = next(one.id for one in all_keys() if one.id != key.id)
    lost = send(office.browser, answer, f"{office.home}keys/{new}/put-away", lost="yes")
    there = lost.headers["Location"]
    assert there == f"{office.home}keys/{new}/rotate"
    form = office.browser.get(there)
    assert "Rotate this key in turn" in Shown(form).text
    assert len(CREDENTIAL_PATTERN.findall(send(office.browser, form, there, way="show").get_data(as_text=True))) == 1
    assert [one.stored_state for one in all_keys()].count(State.ACTIVE) == 1


def test_a_key_that_leaked_ends_at_once(office: Office, world: World) -> None:
    key, _ = world.key(office.org)
    path = f"{office.home}keys/{key.id}/rotate"
    form = office.browser.get(f"{path}?old=now")
    assert [one["value"] for one in Shown(form).all("input") if one.get("name") == "old" and "checked" in one] == [
        "now"
    ]
    send(office.browser, form, path, way="show", old="now")
    assert "The old key is over." in office.page(f"{office.home}keys/{key.id}/rotation").text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"way": "same"}, "is in no destination of this server"),
        ({"way": "elsewhere"}, "Say where the new key goes"),
        ({"settle": "soon"}, "A duration is"),
        ({"form_token": "short"}, "This form is not whole"),
    ],
    ids=str,
)
def test_a_wrong_field_is_said_and_makes_nothing(
    office: Office, world: World, fields: dict[str, str], words: str
) -> None:
    key, _ = world.key(office.org)
    path = f"{office.home}keys/{key.id}/rotate"
    answer = send(office.browser, office.browser.get(path), path, **{"way": "show", "old": "after"} | fields)
    assert answer.status_code == 422
    assert words in Shown(answer).text
    assert len(all_keys()) == 1


def test_a_key_that_is_not_active_is_not_rotated(office: Office, world: World) -> None:
    key, _ = world.key(office.org)
    path = f"{office.home}keys/{key.id}/rotate"
    form = office.browser.get(path)
    send(
        office.browser, office.browser.get(f"{office.home}keys/{key.id}/delete"), f"{office.home}keys/{key.id}/disable"
    )
    answer = send(office.browser, form, path, way="show", old="after")
    assert answer.status_code == 422
    assert "only an active key can be rotated" in Shown(answer).text


@pytest.mark.fault
def test_a_rotation_over_what_mushu_did_not_put_there_is_for_an_operator_who_says_so(
    office: Office, world: World, tmp_path: Path
) -> None:
    file = place(world, office.org, tmp_path, "mailer-env")
    create(office, way="deliver", to=["mailer-env"])
    key = all_keys()[0]
    path, over = f"{office.home}keys/{key.id}/rotate", f"{office.home}keys/{key.id}/overwrite"
    assert over not in office.browser.get(path).get_data(as_text=True)
    file.write_text("MUSHU_API_KEY=other\n")
    send(office.browser, office.browser.get(f"{office.home}keys/{key.id}"), f"{office.home}keys/{key.id}/check")
    form = office.browser.get(path)
    assert "mailer-env held something else when it was last looked at." in Shown(form).text
    assert "An operator of the server can have it do so." in Shown(form).text
    assert "Only an operator of the server can." in office.page(f"{office.home}destinations").text
    refused = send(office.browser, form, path, way="same")
    assert "A destination does not take it now. An operator sees why." in Shown(refused).text
    sent = hidden_of(form, path) | {"way": "same"}
    assert office.browser.client.post(over, data=sent).status_code == 403
    make_operator(world, office.owner)
    refused = send(office.browser, office.browser.get(path), path, way="same")
    assert "holds a value that Mushu did not put there" in Shown(refused).text
    form = office.browser.get(path)
    html = form.get_data(as_text=True)
    assert html.index('<button class="go"') < html.index(f'formaction="{over}"'), "Enter presses the first button"
    done = office.browser.client.post(over, data=hidden_of(form, path) | {"way": "same"})
    assert done.headers["Location"] == f"{office.home}keys/{key.id}/rotation"
    assert CREDENTIAL_PATTERN.search(file.read_text())
