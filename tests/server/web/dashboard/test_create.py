"""A key that is created in the dashboard is in one answer or in none, and one form makes one key."""

import io
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mushu.environment import Environment
from mushu.keyformat import CREDENTIAL_PATTERN
from mushu.server.audit import SYSTEM
from mushu.server.core import context_for, db
from mushu.server.db import writing
from mushu.server.keys.rotation import Terms
from mushu.server.keys.states import State
from mushu.server.orgs.settings import change_rules
from tests.conftest import TurnableClock
from tests.server.conftest import World, api_key
from tests.server.logged import caught
from tests.server.verbs import show_successor, use_key
from tests.server.web.dashboard.conftest import Office, Shown
from tests.server.web.dashboard.forms import all_keys, create, hidden_of, place, send

DAY = timedelta(days=1)
HOSTILE = "<script>alert('x')</script> {{7*7}} مفتاح 🔑 " + "x" * 120
_TEXTAREA = re.compile(r'<textarea class="secret"[^>]*readonly autofocus autocomplete="off"[^>]*>([^<]*)</textarea>')


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    yield from caught(monkeypatch, "DEBUG")


@pytest.mark.parametrize("is_test", [False, True], ids=["live", "test"])
def test_a_key_is_shown_in_one_answer_and_nowhere_else(
    office: Office, world: World, log: io.StringIO, is_test: bool
) -> None:
    base = office.sandbox if is_test else office.home
    answer = create(office, base, scope=["read", "admin"])
    assert answer.status_code == 200
    html = answer.get_data(as_text=True)
    (plaintext,) = _TEXTAREA.findall(html)
    assert re.fullmatch(f"msk_{'test' if is_test else 'live'}_[0-9A-Za-z]{{28}}", plaintext)
    assert CREDENTIAL_PATTERN.findall(html) == [plaintext], "once, and no other one"
    assert plaintext not in str(answer.headers) + log.getvalue()
    assert answer.headers["Cache-Control"] == "no-store"
    (key,) = all_keys()
    assert (key.name, key.scopes, key.stored_state) == ("billing", ("read", "admin"), State.ACTIVE)
    prefix = "/sandbox" if is_test else ""
    assert office.app.test_client().get(f"{prefix}/orgs/{office.org.id}", headers=api_key(plaintext)).status_code == 200
    put_away = send(office.browser, answer, f"{base}keys/{key.id}/put-away", stored="yes")
    assert put_away.headers["Location"] == f"{base}keys/{key.id}"
    for path in ("keys", f"keys/{key.id}", f"keys/{key.id}/delete", f"keys/{key.id}/rotate", "keys/new"):
        assert plaintext not in office.browser.get(base + path).get_data(as_text=True)
    assert plaintext not in log.getvalue()


def test_the_page_of_a_shown_key_leads_nowhere_by_accident_and_says_how_to_lose_it(office: Office) -> None:
    answer = create(office)
    page = Shown(answer)
    (key,) = all_keys()
    assert page.links() == ["#main"]
    assert [form["action"] for form in page.all("form")] == [f"{office.home}keys/{key.id}/put-away"]
    assert [script["src"].partition("?")[0] for script in page.all("script")] == ["/static/app.js"]
    assert len(page.all("h1")) == 1
    lost = send(office.browser, answer, f"{office.home}keys/{key.id}/put-away", lost="yes")
    assert lost.headers["Location"] == f"{office.home}keys"
    assert "billing is deleted" in office.page(f"{office.home}keys").text
    assert all_keys()[0].stored_state == State.REVOKED


@pytest.mark.fault
def test_a_key_of_others_is_not_there_whether_or_not_it_took_a_place(office: Office, world: World) -> None:
    """One that a rotation had brought led to its page to rotate, so who knew its id learned of that."""
    shown, old = create(office), world.key(world.org())[0]
    new = show_successor(context_for(SYSTEM), old.id, Terms()).key
    (mine,) = [key for key in all_keys() if key.id not in (old.id, new.id)]
    for key_id in (old.id, new.id, "key_nosuch"):
        token = hidden_of(shown, f"{office.home}keys/{mine.id}/put-away")
        answer = office.browser.client.post(f"{office.home}keys/{key_id}/put-away", data=token | {"lost": "yes"})
        assert answer.status_code == 404


def test_the_same_form_sent_again_answers_410_and_makes_nothing(office: Office) -> None:
    path = f"{office.home}keys/new"
    form = office.browser.get(path)
    fields = {"name": "once", "way": "show", "scope": ["read"], "expires": "90d", "rotate_every": "never"}
    assert send(office.browser, form, path, **fields).status_code == 200
    for change in ({}, {"name": "another"}):  # by reload, and by the back button
        again = send(office.browser, form, path, **fields | change)
        assert again.status_code == 410
        html = again.get_data(as_text=True)
        assert "This key was shown already" in html
        assert not CREDENTIAL_PATTERN.search(html)
    assert [key.name for key in all_keys()] == ["once"]
    assert hidden_of(office.browser.get(path), path)["form_token"] != hidden_of(form, path)["form_token"]


def test_a_delivered_key_is_in_no_byte_of_the_session(
    office: Office, world: World, tmp_path: Path, log: io.StringIO, clock: TurnableClock
) -> None:
    file = place(world, office.org, tmp_path, "mailer-env")
    path = f"{office.home}keys/new"
    form = office.browser.get(path)
    fields = {"name": "mailer", "way": "deliver", "to": ["mailer-env"], "scope": ["read", "write"], "expires": "30d"}
    answers = [form, send(office.browser, form, path, **fields)]
    (key,) = all_keys()
    there = answers[-1].headers["Location"]
    assert there == f"{office.home}keys/{key.id}/delivered"
    answers.append(office.browser.get(there))
    assert "Not used yet." in answers[-1].get_data(as_text=True)
    use_key(key.id, clock())
    answers.append(office.browser.get(there))
    assert "First used" in answers[-1].get_data(as_text=True)
    again = send(office.browser, form, path, **fields)
    assert (again.headers["Location"], len(all_keys())) == (there, 1), "the same form makes nothing"
    answers += [again, office.browser.get(path)]
    assert "taken: holds" in answers[-1].get_data(as_text=True)
    plaintext = file.read_text().strip().rpartition("=")[2].strip("'\"")
    assert CREDENTIAL_PATTERN.fullmatch(plaintext)
    sent = "".join(answer.get_data(as_text=True) + str(answer.headers) for answer in answers)
    assert not CREDENTIAL_PATTERN.search(sent + log.getvalue())
    assert str(file) not in sent, "an admin chooses by name, and sees no URI"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": " "}, "The name must have"),
        ({"name": "x" * 201}, "The name must have"),
        ({"scope": []}, "A key needs at least one scope"),
        ({"scope": ["root"]}, "A scope must be one of"),
        ({"expires": "soon"}, "A duration is"),
        ({"expires": "365d"}, "Keys of this organization live 120d at the most"),
        ({"rotate_every": "1m"}, "A key can be rotated every hour"),
        ({"way": "deliver"}, "Pick at least one destination"),
        ({"way": "deliver", "to": ["nowhere"]}, "There is no live destination"),
        ({"way": "both"}, "Pick at least one destination"),
        ({"limits": "600/week"}, "A limit is written as 100/minute"),
        ({"networks": "10.0.4.1/24"}, "A network is written as 10.0.0.0/8"),
        ({"form_token": ""}, "This form is not whole"),
    ],
    ids=str,
)
def test_a_wrong_field_is_said_and_makes_nothing_and_the_form_keeps_what_was_typed(
    office: Office, world: World, fields: dict[str, Any], words: str
) -> None:
    with writing(db.session):
        change_rules(db.session, world.clock, SYSTEM, office.org.id, {"max_key_age": 120 * DAY})
    answer = create(office, **fields)
    assert answer.status_code == 422
    page = Shown(answer)
    assert words in page.text
    assert "No key was created." in page.text
    assert all_keys() == []
    if "name" not in fields:
        assert next(one for one in page.all("input") if one.get("id") == "name")["value"] == "billing"


def test_the_form_says_what_the_organization_allows(office: Office, world: World) -> None:
    free = office.page(f"{office.home}keys/new")
    assert "The organization sets no limit." in free.text
    assert {option["value"] for option in free.all("option")} >= {"90d", "365d", "never"}
    with writing(db.session):
        rules = {"max_key_age": 120 * DAY, "default_lifetime": 60 * DAY, "default_rotate_every": 45 * DAY}
        change_rules(db.session, world.clock, SYSTEM, office.org.id, rules)
    page = office.page(f"{office.home}keys/new")
    options = page.all("option")
    assert [option["value"] for option in options] == ["7d", "30d", "60d", "90d", "120d", "30d", "45d", "60d", "90d"]
    assert [option["value"] for option in options if "selected" in option] == ["60d", "45d"]
    assert "The organization allows 120 days at most." in page.text
    assert create(office, expires="120d", rotate_every="45d").status_code == 200


def test_limits_and_networks_are_taken_as_people_list_them(office: Office) -> None:
    assert create(office, limits="50000/total, 600/minute", networks="10.0.4.0/24 2001:db8::/48").status_code == 200
    (key,) = all_keys()
    assert (key.limits, key.networks) == ("600/minute;50000/total", "10.0.4.0/24,2001:db8::/48")
    form = create(office, name=" ", limits="1/day")
    assert next(one for one in Shown(form).all("input") if one.get("id") == "limits")["value"] == "1/day"


def test_a_name_is_text_wherever_it_is_shown(office: Office, world: World, tmp_path: Path) -> None:
    place(world, office.org, tmp_path, "there")
    shown = create(office, name=HOSTILE)
    (key,) = all_keys()
    pages = [Shown(shown), *(office.page(f"{office.home}keys/{key.id}/{path}") for path in ("delete", "rotate"))]
    create(office, name=HOSTILE, way="deliver", to=["there"])
    pages += [office.page(f"{office.home}keys/{all_keys()[-1].id}/delivered"), office.page(f"{office.home}keys/new")]
    for page in pages:
        assert HOSTILE in page.text
        assert "<script>alert" not in page.html


def test_without_the_token_of_a_page_nothing_is_made(office: Office, world: World) -> None:
    key, _ = world.key(office.org)
    for path in ("new", "picked", "picked/change", f"{key.id}/delete", f"{key.id}/disable", f"{key.id}/rotate"):
        refused = office.browser.client.post(f"{office.home}keys/{path}", data={"name": "k", "way": "show"})
        assert refused.status_code == 400
        assert "Nothing was changed" in refused.get_data(as_text=True)
    assert [one.stored_state for one in all_keys()] == [State.ACTIVE]


def test_a_member_and_an_outsider_create_nothing_even_with_a_token(office: Office) -> None:
    form = office.browser.get(f"{office.home}keys/new")
    for browser, status in ((office.member(), 403), (office.outsider(), 404)):
        token = hidden_of(browser.get("/account"), "/logout")["csrf_token"]
        filled = hidden_of(form, f"{office.home}keys/new") | {"csrf_token": token, "way": "show", "scope.read": "yes"}
        assert browser.client.post(f"{office.home}keys/new", data=filled).status_code == status
    assert all_keys() == []


def test_a_destination_of_test_is_not_offered_for_live(office: Office, world: World, tmp_path: Path) -> None:
    place(world, office.org, tmp_path, "staging", Environment.TEST)
    assert "staging" not in office.page(f"{office.home}keys/new").text
    assert "staging" in office.page(f"{office.sandbox}keys/new").text
