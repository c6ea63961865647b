"""The page of one key."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from mushu.environment import Environment
from mushu.server.audit import SYSTEM, Actor, ActorKind
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.delivery.activation import activate
from mushu.server.delivery.models import Condition, DeliveryState
from mushu.server.keys import Scope
from mushu.server.keys.rotation import Terms, begin
from mushu.server.keys.service import change_state, get_key, rename_key
from mushu.server.keys.states import DELETE
from mushu.server.orgs.settings import change_rules
from mushu.server.usage import Recorder
from mushu.server.web.dashboard.key_form import PERMITS
from tests.conftest import TurnableClock
from tests.server.statements import statements
from tests.server.verbs import use_key
from tests.server.web.dashboard.conftest import Office
from tests.server.web.endpoints import make_operator


def text_of(office: Office, key_id: str, query: str = "") -> str:
    return " ".join(office.page(f"{office.home}keys/{key_id}{query}").text.split())


def test_it_tells_the_facts(office: Office) -> None:
    with writing(db.session):
        change_rules(db.session, office.world.clock, SYSTEM, office.org.id, {"max_key_age": timedelta(days=120)})
    key = office.key("billing-worker", lives_days=41)
    text = text_of(office, key.id)
    for fact in (
        key.hint, key.id, "billing-worker", "in 41 days; the organization allows 120d",
        *(f"{scope}: {PERMITS[scope]}" for scope in (Scope.READ, Scope.WRITE)),
        f"Seen by {office.owner.email}. It was shown once.", f"by {office.owner.email}",
        f"mushu api-key rotate {key.id}",
        "Active.", "At no destination that Mushu knows.", "Never used.",
    ):  # fmt: skip
        assert fact in text
    assert "At most" not in text
    assert "Never" in text_of(office, office.key("without end").id)


def test_it_tells_how_often_and_from_where_the_key_may_be_used(office: Office) -> None:
    key = office.key("k")
    with writing(db.session):
        row = get_key(db.session, key.id)
        row.limits, row.networks = "10/second;1000/day", "10.0.4.0/24,192.0.2.7/32"
    text = text_of(office, key.id)
    assert "At most10/second, 1000/day" in text.replace("At most ", "At most")
    assert "10.0.4.0/24, 192.0.2.7/32" in text


def test_it_says_where_the_key_is_and_what_was_found_there(office: Office) -> None:
    key = office.key("k")
    for condition in Condition:
        office.deliver(key, condition, uri=f"env:/{condition}")
    office.deliver(key, uri="env:/written", state=DeliveryState.DELIVERED)
    office.deliver(key, uri="env:/failed", state=DeliveryState.FAILED, error="<it> refused")
    office.deliver(key, uri="env:/laptop", on_client=True)
    page = office.page(f"{office.home}keys/{key.id}")
    text = " ".join(page.text.split())
    for words in (
        "3nowStill there, now", "Holds something else, now", "Not there, now", "Did not answer, now",
        "Does not let Mushu look, now", "Written, and not read back yet", "Failed. An operator sees why.",
        "env:/laptop on a client’s machine", "Nobody. Delivered sealed.",
    ):  # fmt: skip
        assert words in text
    assert "env:/written" not in text
    assert "<it> refused" not in text, "the words of a plugin may name a file"
    make_operator(office.world, office.owner)
    text = office.page(f"{office.home}keys/{key.id}").text
    assert "env:/written" in text
    assert "Failed: <it> refused" in text


def test_a_key_that_a_client_delivered_was_seen_by_nobody(office: Office) -> None:
    key = office.key("k")
    office.deliver(key, on_client=True)
    assert "Nobody. A client put it on its own machine." in text_of(office, key.id)


def test_it_tells_how_the_key_is_used_and_what_is_unusual(office: Office, clock: TurnableClock) -> None:
    key = office.key("k")
    recorder, now = Recorder(db.engine, None, 0), clock()
    for days, requests in ((300, 5), (20, 3), (0, 2)):
        for _ in range(requests):
            recorder.saw(key.id, now - timedelta(days=days), f"192.0.{days % 7}.9")
    recorder.denied(key.id, now, "203.0.113.9", "missing_scope")
    recorder.flush()
    assert "2 requestsat most 2 in one hour" in text_of(office, key.id)
    assert "5 requestsat most 3 in one day" in text_of(office, key.id, "?usage=month")
    assert "10 requestsat most 5 in one month" in text_of(office, key.id, "?usage=year")
    text = text_of(office, key.id, "?usage=nonsense")
    assert "2 requests" in text
    assert "missing_scope1now203.0.113.9" in text
    assert "192.0.0.9nownow" in text
    assert "after 280 quiet days" not in text
    assert "It was first used from the network" in text


def test_it_tells_what_happened_and_by_whom(office: Office, clock: TurnableClock) -> None:
    key, owner = office.key("before"), Actor(ActorKind.USER, office.owner.id)
    with writing(db.session):
        rename_key(db.session, clock, owner, get_key(db.session, key.id), "after")
        successor, _ = begin(db.session, clock, Actor(ActorKind.OPERATOR, "root"), key.id, Terms())
        activate(db.session, clock, SYSTEM, successor.id)
        change_state(db.session, clock, Actor(ActorKind.API_KEY, "key_admin"), key.id, DELETE)
    page = office.page(f"{office.home}keys/{key.id}")
    text = " ".join(page.text.split())
    for words in (
        f"Created{office.owner.email}, now", f"Renamed from before to after{office.owner.email}, now",
        f"Rotated: {successor.id} takes overAn operator of the server, now", "Deletedkey_admin, now",
        "Replaced: it works until the new key is in useMushu, now", "Deleted now.",
    ):  # fmt: skip
        assert words in text
    assert "root" not in text, "whose account is no business of an organization"
    assert f"{office.home}keys/{successor.id}" in page.links()
    assert f"{office.home}keys/{key.id}" in office.page(f"{office.home}keys/{successor.id}").links()
    with writing(db.session):
        for number in range(20):
            rename_key(db.session, clock, owner, get_key(db.session, successor.id), f"number {number}")
    assert f"{office.home}audit?about={successor.id}" in office.page(f"{office.home}keys/{successor.id}").links()


def test_a_key_of_another_place_is_not_there(office: Office) -> None:
    test = office.key("k", environment=Environment.TEST)
    other = office.world.key(office.world.org())[0]
    for key_id in (test.id, other.id, "key_none"):
        assert office.browser.get(f"{office.home}keys/{key_id}").status_code == 404
    assert office.page(f"{office.sandbox}keys/{test.id}").all("h1")


@pytest.mark.parametrize("period", ["day", "year"])
def test_it_costs_as_many_statements_whatever_is_known_of_the_key(office: Office, period: str) -> None:
    first, second = office.key("first"), office.key("second")
    for number in range(12):
        office.deliver(second, Condition.OK, uri=f"env:/{number}")
        use_key(second.id, office.world.clock() - timedelta(days=number), f"192.0.2.{number}")
    counts = []
    for key in (first, second):
        with statements(Engine) as asked:
            office.page(f"{office.home}keys/{key.id}?usage={period}")
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 21
