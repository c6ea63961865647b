"""Disabling, enabling and deleting keys in the dashboard: what is in use is asked about, and what happened is said."""

from datetime import timedelta
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import State
from tests.conftest import TurnableClock
from tests.server.conftest import World, api_key
from tests.server.verbs import use_key
from tests.server.web.dashboard.conftest import Office, Shown
from tests.server.web.dashboard.forms import all_keys, create, hidden_of, place, send


def states(*keys: ApiKey) -> list[str]:
    """Return the states of these keys, or of all."""
    found = {key.id: key.stored_state for key in all_keys()}
    return [found[key.id] for key in keys] if keys else [*found.values()]


def rename(key_id: str, name: str) -> None:
    with writing(db.session):
        db.session.get_one(ApiKey, key_id).name = name


def test_a_key_is_disabled_and_enabled_again_and_the_page_says_so(office: Office, world: World) -> None:
    key, plaintext = world.key(office.org)
    one, page = f"{office.home}keys/{key.id}", office.browser.get(f"{office.home}keys/{key.id}/delete")
    csrf = hidden_of(page, f"{one}/disable")
    for verb, state, status, words in (
        ("disable", State.DISABLED, 401, "k is disabled: it is refused from the next request on."),
        ("enable", State.ACTIVE, 200, "k works again."),
    ):
        answer = office.browser.client.post(f"{one}/{verb}", data=csrf)
        assert (answer.status_code, answer.headers["Location"]) == (303, one)
        assert words in office.page(one).text
        assert words not in office.page(one).text, "it is said once"
        assert states() == [state]
        asked = office.app.test_client().get(f"/orgs/{office.org.id}", headers=api_key(plaintext))
        assert asked.status_code == status
    again = office.browser.client.post(f"{one}/enable", data=csrf)
    assert again.status_code == 409
    assert "is active already" in again.get_data(as_text=True)


@pytest.mark.parametrize("typed", ["name", "id"])
def test_a_key_that_is_in_use_is_deleted_where_its_name_or_id_is_typed(
    office: Office, world: World, clock: TurnableClock, typed: str
) -> None:
    key, _ = world.key(office.org)
    rename(key.id, "billing worker")
    use_key(key.id, clock(), "192.0.2.9")
    path = f"{office.home}keys/{key.id}/delete"
    clock.turn(hours=23)
    office.browser = office.browser_of(office.owner)
    page = office.browser.get(path)
    assert "It is in use:" in Shown(page).text
    assert "from 192.0.2.9, 1 request in the last day" in Shown(page).text
    for wrong in ("", "billing", "BILLING WORKER", "key_x"):
        refused = send(office.browser, page, path, confirm=wrong)
        assert refused.status_code == 422
        assert "That is neither its name nor its id. Nothing was deleted." in Shown(refused).text
    assert states() == [State.ACTIVE]
    done = send(office.browser, page, path, confirm=f" {'billing worker' if typed == 'name' else key.id} ")
    assert done.headers["Location"] == f"{office.home}keys"
    assert "billing worker is deleted for good" in office.page(f"{office.home}keys").text
    assert states() == [State.REVOKED]
    assert office.browser.get(path).status_code == 404


def test_a_key_that_nobody_uses_is_deleted_without_typing_and_taken_away_from_its_place(
    office: Office, world: World, clock: TurnableClock, tmp_path: Path
) -> None:
    file = place(world, office.org, tmp_path, "mailer-env")
    create(office, way="deliver", to=["mailer-env"])
    key = all_keys()[0]
    use_key(key.id, clock() - timedelta(hours=25))
    path = f"{office.home}keys/{key.id}/delete"
    page = office.browser.get(path)
    assert "It is taken away from mailer-env." in Shown(page).text
    assert str(file) not in page.get_data(as_text=True)
    assert send(office.browser, page, path).status_code == 303
    assert "msk_" not in file.read_text()
    assert states() == [State.REVOKED]


def test_a_destination_that_does_not_answer_is_told(office: Office, world: World, tmp_path: Path) -> None:
    file = place(world, office.org, tmp_path, "mailer-env")
    create(office, way="deliver", to=["mailer-env"])
    file.unlink()
    file.mkdir()
    path = f"{office.home}keys/{all_keys()[0].id}/delete"
    send(office.browser, office.browser.get(path), path)
    assert "is deleted for good" in office.page(f"{office.home}keys").text
    assert states() == [State.REVOKED]


def test_several_keys_are_asked_about_and_then_disabled_or_deleted(
    office: Office, world: World, clock: TurnableClock
) -> None:
    keys = [world.key(office.org)[0] for _ in range(4)]
    use_key(keys[0].id, clock())
    ask, change = f"{office.home}keys/picked", f"{office.home}keys/picked/change"
    csrf = hidden_of(office.browser.get(f"{office.home}keys/new"), f"{office.home}keys/new")
    token = {"csrf_token": csrf["csrf_token"]}

    def asked(do: str, *ids: str) -> TestResponse:
        return office.browser.client.post(ask, data=token | {"do": do} | {f"key.{one}": "yes" for one in ids})

    page = asked("disable", keys[0].id, keys[1].id)
    assert "Disable 2 keys?" in Shown(page).text
    assert "1 of them was used in the last day" in Shown(page).text
    assert states() == ["active"] * 4, "asking changes nothing"
    assert send(office.browser, page, change).headers["Location"] == f"{office.home}keys"
    assert "2 keys are disabled." in office.page(f"{office.home}keys").text
    assert states(*keys) == ["disabled", "disabled", "active", "active"]
    page = asked("delete", *(key.id for key in keys[:3]))
    refused = send(office.browser, page, change, confirm="2")
    assert refused.status_code == 422
    assert "Type 3, the number of keys. Nothing was deleted." in Shown(refused).text
    assert send(office.browser, page, change, confirm="3").status_code == 303
    assert "3 keys are deleted for good." in office.page(f"{office.home}keys").text
    assert states(*keys) == ["revoked", "revoked", "revoked", "active"]
    page = asked("delete", keys[3].id)
    assert "to delete them" not in Shown(page).text, "nobody uses it"
    for do, ids, status in (("delete", [], 422), ("explode", [keys[3].id], 422), ("delete", [keys[0].id], 404)):
        assert asked(do, *ids).status_code == status
    assert asked("delete", *(f"key_{number}" for number in range(91))).status_code == 422


def test_what_cannot_be_changed_is_said_and_the_others_are(office: Office, world: World) -> None:
    keys = [world.key(office.org)[0] for _ in range(2)]
    path = f"{office.home}keys/{keys[0].id}"
    page = office.browser.get(f"{path}/delete")
    token = hidden_of(page, f"{path}/disable")
    office.browser.client.post(f"{path}/disable", data=token)
    picked = {f"key.{key.id}": "yes" for key in keys}
    answer = office.browser.client.post(f"{office.home}keys/picked/change", data=token | {"do": "disable"} | picked)
    assert answer.status_code == 303
    text = office.page(f"{office.home}keys").text
    assert "1 key is disabled. 1 could not be." in text
    assert f"{keys[0].id} is disabled already." in text


def test_a_key_of_another_organization_or_environment_is_not_there(office: Office, world: World) -> None:
    theirs, _ = world.key(world.org())
    mine, _ = world.key(office.org)
    token = hidden_of(office.browser.get(f"{office.home}keys/new"), f"{office.home}keys/new")
    for base, key in ((office.home, theirs), (office.sandbox, mine)):
        for verb in ("disable", "enable", "delete", "put-away"):
            data = {"csrf_token": token["csrf_token"], "confirm": key.id, "lost": "yes"}
            assert office.browser.client.post(f"{base}keys/{key.id}/{verb}", data=data).status_code == 404
        for path in ("delete", "rotate", "rotation", "delivered"):
            assert office.browser.get(f"{base}keys/{key.id}/{path}").status_code == 404
    assert states() == ["active", "active"]
