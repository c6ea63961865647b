"""Home: what the keys need, and what there is where there is no key, or no permission."""

import gzip
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.delivery.activation import activate
from mushu.server.delivery.models import Condition
from mushu.server.destinations import DestinationRow
from mushu.server.environments import within
from mushu.server.keys.rotation import Terms, begin
from mushu.server.orgs.members import add_member
from mushu.server.orgs.models import Role
from mushu.server.orgs.settings import change_rules
from mushu.server.usage import Recorder
from mushu.server.usage.engine import usage_engine
from mushu.server.web.dashboard import home
from tests.conftest import TurnableClock
from tests.server.statements import statements
from tests.server.verbs import use_key
from tests.server.web.dashboard.conftest import Office, Shown
from tests.server.web.dashboard.test_foundation import HOSTILE, LARGEST
from tests.server.web.endpoints import make_operator


def text_of(page: Shown) -> str:
    return " ".join(page.text.split())


def test_each_card_counts_what_the_list_that_it_opens_shows(office: Office, clock: TurnableClock) -> None:
    drifted, idle, soon = office.key("drifted"), office.key("idle"), office.key("soon", lives_days=110)
    office.deliver(drifted, Condition.DRIFTED)
    clock.turn(days=91)
    use_key(idle.id, clock() - timedelta(days=90, seconds=1))
    use_key(soon.id, clock())
    office.browser.sign_in(office.owner.email, office.world.password)
    page = office.page(office.home)
    cards = {link.partition("?")[2]: link for link in page.links() if "/keys?" in link and "sort" not in link}
    shown = {query: [one for one in office.page(link).links() if "/keys/key_" in one] for query, link in cards.items()}
    counted = {"need=drifted": 1, "need=stalled": 0, "expiry=soon": 1, "use=never": 1, "use=idle": 2, "need=left": 0}
    assert {query: len(found) for query, found in shown.items()} == counted
    assert "1Drifted 0Rotation stalled 1Expire in 30 days 1Never used 2Idle for 90 days 0Owner left" in text_of(page)
    assert "One key needs attention" in page.text


def test_keys_without_an_end_are_a_card_only_where_new_ones_must_have_one(office: Office) -> None:
    office.key("k")
    assert "No expiry" not in office.page(office.home).text
    with writing(db.session):
        change_rules(db.session, office.world.clock, SYSTEM, office.org.id, {"max_key_age": timedelta(days=9)})
    assert "expiry=none" in " ".join(office.page(office.home).links())


def test_it_tells_what_was_asked_what_is_unusual_what_moves_and_what_happened(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, now, colleague = office.key(HOSTILE), office.world.clock(), office.world.user()
    recorder = Recorder(db.engine, None, 0)
    recorder.saw(key.id, now - timedelta(days=9), "192.0.2.7")
    for _ in range(3):
        recorder.saw(key.id, now, "198.51.100.7")
    recorder.denied(key.id, now, "198.51.100.7", "missing_scope")
    recorder.flush()
    with writing(db.session):
        successor, _ = begin(db.session, office.world.clock, SYSTEM, key.id, Terms())
        activate(db.session, office.world.clock, SYSTEM, successor.id)
        add_member(db.session, office.world.clock, SYSTEM, office.org.id, colleague.id, Role.ADMIN)
    page = office.page(office.home)
    text = text_of(page)
    for words in (
        "All keys are as they should be", "2 keys of acme", "3 requests", "1 refused, on a scale of their own",
        "It was first used from the network 198.51.100.0/24 now.", "Rotating: the new key waits for its first use",
        f"Mushu: {HOSTILE} rotated: {successor.id} takes over", f"Mushu let {colleague.email} in, as admin",
        "All of it",
    ):  # fmt: skip
        assert words in text
    assert "<script>alert" not in page.html
    assert page.links().count(f"{office.home}keys/{key.id}") >= 3
    assert "Nothing of late." not in text
    monkeypatch.setattr(home, "_VERY_MANY", 0)
    assert text_of(office.page(office.home)) == text, "however keys that move are found"


def test_where_there_is_no_key_it_teaches_the_first_one(office: Office) -> None:
    steps = office.page(office.home)
    assert "flask destinations add backend-env env:/srv/app/.env --org" in steps.text
    assert office.sandbox in steps.links()
    assert f"{office.home}destinations#add" not in steps.links(), "it is for an operator"
    make_operator(office.world, office.owner)
    assert f"{office.home}destinations#add" in office.page(office.home).links()
    with within(db.session, Environment.TEST), writing(db.session):
        named = DestinationRow(id="dst_x", org_id=office.org.id, name="staging", uri="env:/x", created_by="operator")
        named.created_at = office.world.clock()
        db.session.add(named)
    text = text_of(office.page(office.sandbox))
    assert "Done: staging" in text
    assert "--deliver-to staging --env test" in text
    assert "/sandbox/orgs" in text
    office.key("first")
    assert "Nothing of late." in office.page(office.home).text


def test_a_member_is_told_what_there_is_without_keys(office: Office) -> None:
    key = office.key("secret-name")
    member = office.member()
    page = Shown(member.get(office.home))
    assert "Keys are managed by admins and the owner" in page.text
    assert "/outbox" in page.links()
    assert f"{office.home}keys" not in page.links()
    assert "secret-name" not in page.html
    assert key.id not in page.html


def test_it_costs_as_many_statements_whatever_there_is(office: Office) -> None:
    def asked() -> int:
        with statements(Engine) as found:
            assert len(gzip.compress(office.browser.get(office.home).get_data())) < LARGEST
        return len(found)

    office.key("first")
    usage_engine(db.engine)  # makes the file, which the first count would make
    few = asked()
    for number in range(12):
        key = office.key(f"number {number}", lives_days=9)
        office.deliver(key, Condition.MISSING)
        use_key(key.id, office.world.clock())
        with writing(db.session):
            begin(db.session, office.world.clock, SYSTEM, key.id, Terms())
    assert asked() == few <= 24
