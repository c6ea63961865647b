"""The list of keys: its filters, pages and figures, and what it shows of each key."""

import gzip
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from sqlalchemy import Engine

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import own_session, writing
from mushu.server.delivery.models import Condition
from mushu.server.destinations import DestinationRow
from mushu.server.environments import within
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DELETE
from mushu.server.usage import Recorder
from mushu.server.usage.engine import usage_engine
from mushu.server.web.dashboard import key_list, shell
from mushu.server.web.dashboard.key_filters import CHOICES, PAGE, SORTS
from tests.conftest import TurnableClock
from tests.server.statements import statements
from tests.server.verbs import use_key
from tests.server.web.dashboard.conftest import Office, Shown
from tests.server.web.dashboard.test_foundation import HOSTILE, LARGEST


def names(page: Shown) -> list[str]:
    """Return the names of the keys that are shown."""
    return [link.rpartition("/")[2] for link in page.links() if "/keys/key_" in link]


def test_keys_are_listed_newest_first_in_pages(office: Office, clock: TurnableClock) -> None:
    keys = []
    for number in range(PAGE + 2):
        clock.turn(seconds=1)
        keys.append(office.key(f"number {number}").id)
    page = office.page(f"{office.home}keys")
    assert names(page) == keys[:1:-1]
    assert f"{PAGE + 2} keys" in page.text
    after = next(link for link in page.links() if "cursor=" in link)
    second = office.page(after)
    assert names(second) == [keys[1], keys[0]]
    assert f"{office.home}keys" in second.links()


def test_live_and_test_have_their_own(office: Office) -> None:
    live, test = office.key("one"), office.key("two", environment=Environment.TEST)
    assert names(office.page(f"{office.home}keys")) == [live.id]
    page = office.page(f"{office.sandbox}keys")
    assert names(page) == [test.id]
    assert all("/sandbox" in link for link in page.links() if "/keys" in link)


def test_a_filter_is_in_the_address_and_narrows_rows_figures_and_chart_together(office: Office) -> None:
    busy, other = office.key("busy-worker"), office.key("other")
    for key in (busy, busy, other):
        use_key(key.id, office.world.clock())
    page = office.page(f"{office.home}keys?search=BUSY&scope=read")
    assert names(page) == [busy.id]
    assert "2 requests in 24 hours by 1 key" in " ".join(page.text.split())
    assert "All 2" in page.text
    assert f"{office.home}keys?scope=read" in page.links(), "a chip takes its filter away and leaves the others"
    assert "BUSY" in [one.get("value") for one in page.all("input")]
    everything = office.page(f"{office.home}keys")
    assert "3 requests in 24 hours by 2 keys" in " ".join(everything.text.split())


def test_every_filter_and_order_that_is_offered_is_taken(office: Office) -> None:
    office.key("one")
    page = office.page(f"{office.home}keys")
    offered = {attributes["value"] for attributes in page.all("option")}
    for name, (_, choices) in CHOICES.items():
        for value in choices:
            assert name == "need" or value in offered
            assert office.page(f"{office.home}keys?{urlencode({name: value})}").all("h1")
    for sort in SORTS:
        assert names(office.page(f"{office.home}keys?sort={sort}"))
    mine = office.page(f"{office.home}keys?created_by={office.owner.id}&need=left&deleted=yes")
    assert {"need", "deleted"} <= {one["name"] for one in mine.all("input")}, "kept when another filter is chosen"
    assert names(office.page(f"{office.home}keys?created_by={office.owner.email}"))
    assert names(office.page(f"{office.home}keys?destination=env:/nowhere")) == []


@pytest.mark.parametrize(
    "query", ["stat=active", "state=bogus", "sort=bogus", "cursor=bogus", "destination=bogus", "search=" + "x" * 201,
              "search=msk_live_0000000000000000000000abcdef"],
)  # fmt: skip
def test_a_filter_that_is_none_is_refused_and_never_ignored(office: Office, query: str) -> None:
    refused = office.browser.get(f"{office.home}keys?{query}")
    assert refused.status_code == 422
    assert "msk_live_0" not in refused.get_data(as_text=True)


def test_deleted_keys_are_hidden_and_one_click_away(office: Office) -> None:
    gone, kept = office.key("gone"), office.key("kept")
    with writing(db.session):
        change_state(db.session, office.world.clock, SYSTEM, gone.id, DELETE)
    page = office.page(f"{office.home}keys")
    assert names(page) == [kept.id]
    assert "1 deleted key is hidden" in page.text
    shown = office.page(f"{office.home}keys?deleted=yes")
    assert {*names(shown)} == {gone.id, kept.id}
    assert "Deleted now" in shown.text


def test_where_nothing_is_the_page_says_what_would_be_there(office: Office) -> None:
    assert "mushu api-key create" in office.page(f"{office.home}keys").text
    assert "--env test" in office.page(f"{office.sandbox}keys").text
    office.key("one")
    assert "No key fits" in office.page(f"{office.home}keys?search=zyzzyva").text
    assert "Show all keys" in office.page(f"{office.home}keys?state=failed").text


def test_names_places_and_addresses_of_others_are_text(office: Office) -> None:
    key = office.key(HOSTILE)
    office.deliver(key, Condition.DRIFTED, on_client=True, uri="env:<b>\u202e", version="<i>")
    use_key(key.id, office.world.clock(), "<address>")
    for path in ("keys", f"keys/{key.id}", "keys?search=<script>"):
        page = office.page(f"{office.home}{path}")
        assert HOSTILE in page.text
        for markup in ("<script>alert", "<b>\u202e", "<address>", "<i>"):
            assert markup not in page.html
    assert '<small class="ctl">U+202E</small>' in page.html


def test_a_row_says_who_saw_the_key_and_where_it_is(office: Office) -> None:
    shown, sealed, own = office.key("shown"), office.key("sealed"), office.key("own")
    office.deliver(sealed)
    office.deliver(sealed, uri="env:/srv/another")
    office.deliver(own, on_client=True)
    page = office.page(f"{office.home}keys")
    text = " ".join(page.text.split())
    assert f"Shown to {office.owner.email}" in text
    assert "an unlisted env: destinationand 1 more" in text
    assert f"env:/srv/{own.id}" in text, "on a client’s own machine"
    assert "/srv/another" not in text, "a file of the server is told to operators only"
    assert page.html.isascii(), "it is encoded letter by letter where it is not"
    assert {one.get("aria-label") for one in page.all("svg")} >= {"Sealed: nobody has seen it", "Was shown"}
    assert len(names(page)) == len({shown.id, sealed.id, own.id})


def test_names_that_no_filter_offers_are_shown_all_the_same(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.deliver(office.key("sealed"), uri="env:/x")
    office.key("shown")
    with within(db.session, Environment.LIVE), writing(db.session):
        for name, uri in (("first", "env:/y"), ("second", "env:/x")):
            named = DestinationRow(id=f"dst_{name}", org_id=office.org.id, name=name, uri=uri, created_by="operator")
            named.created_at = office.world.clock()
            db.session.add(named)
    before = office.page(f"{office.home}keys")
    monkeypatch.setattr(key_list, "_OFFERED", 0)
    monkeypatch.setattr(shell, "_OFFERED", 0)
    page = office.page(f"{office.home}keys")
    for words in ("second", f"Shown to {office.owner.email}", office.org.name, f"{office.owner.email} · owner"):
        assert words in page.text, words
    assert "second" in before.text
    offered = [{one["value"] for one in some.all("option")} & {"first", "second"} for some in (before, page)]
    assert offered == [{"first", "second"}, set()]


def test_figures_of_a_row_are_what_was_counted(office: Office, clock: TurnableClock) -> None:
    key = office.key("busy")
    recorder, then = Recorder(db.engine, None, 0), clock() - timedelta(hours=30)
    for _ in range(12):
        recorder.saw(key.id, then, "192.0.2.7")
    recorder.denied(key.id, then, "192.0.2.7", "missing_scope")
    recorder.saw(key.id, clock() + timedelta(hours=1), "192.0.2.7")  # an hour that begins while the page is made
    recorder.flush()
    page = office.page(f"{office.home}keys")
    text = " ".join(page.text.split())
    assert "12, 1 refused" in text
    assert "0 requests in 24 hours by 1 key" in text
    assert "in an hour" in text
    clock.turn(hours=38)
    office.browser.sign_in(office.owner.email, office.world.password)
    assert "no requests" in office.page(f"{office.home}keys").text


def test_a_page_costs_as_many_statements_for_one_key_as_for_fifty(office: Office) -> None:
    def asked(filters: str = "") -> int:
        with statements(Engine) as found:
            response = office.browser.get(f"{office.home}keys{filters}")
            assert len(gzip.compress(response.get_data())) < LARGEST
        return len(found)

    office.key("first")
    with own_session(usage_engine(db.engine)):
        asked()  # nobody knows before whether the keys are few
        few = asked()
    for number in range(PAGE - 1):
        key = office.key(f"number {number}", lives_days=number + 1)
        office.deliver(key, Condition.OK)
        use_key(key.id, office.world.clock() - timedelta(hours=number))
    assert asked() == few
    assert few <= 11
    assert asked("?state=active") == few, "what filters mean is counted on the page, where that has all of it"
    office.key("of another page")
    assert asked() == few + 1, "the hours of all keys are added up"
    assert asked("?state=active") == few + 3, "those of the keys that are meant, too, and they are counted"
