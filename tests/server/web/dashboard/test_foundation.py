"""What all pages of the dashboard have in common: who sees them, what they may load, and how they fail."""

import gzip
import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from flask import Flask, Response, redirect, render_template_string
from markupsafe import Markup

from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import own_session, writing
from mushu.server.keys import Scope
from mushu.server.orgs.members import get_member, set_role
from mushu.server.orgs.models import Role
from mushu.server.orgs.service import get_org, rename_org
from mushu.server.web import templating
from mushu.server.web.dashboard import routes
from mushu.server.web.dashboard.shell import to
from mushu.server.web.guard import current_environment, org_page
from tests.conftest import TurnableClock
from tests.server.conftest import World
from tests.server.web.asking import SeparateClient
from tests.server.web.dashboard.conftest import Office, Shown
from tests.server.web.endpoints import PAGES_OF_AN_ORG, PAGES_OF_OPERATORS

HOSTILE = "<script>alert('x')</script> {{7*7}} مفتاح 🔑 " + "x" * 120
_BLANK = re.compile("<[a-z_]+>")
#: At most, as it is sent: a page without pictures.
LARGEST = 60_000


def test_everything_begins_at_the_first_organization_of_who_is_signed_in(
    office: Office, world: World, clock: TurnableClock
) -> None:
    assert office.browser.get("/").headers["Location"] == office.home
    clock.turn(seconds=1)
    world.org(office.owner, "northwind")
    assert office.browser.get("/").headers["Location"] == office.home
    nobody = office.browser_of(world.user())
    assert nobody.get("/").headers["Location"] == "/dashboard"
    assert "mushu org create NAME" in nobody.get("/dashboard").get_data(as_text=True)


def test_all_organizations_are_listed_and_the_page_after_too(
    office: Office, world: World, clock: TurnableClock
) -> None:
    for number in range(100):
        clock.turn(seconds=1)
        world.org(office.owner, f"org {number}")
    first = office.page("/dashboard")
    assert "org 98" in first.text
    assert "org 99" not in first.text
    assert "org 99" in office.page(first.links()[-1]).text
    assert office.browser.get("/dashboard?cursor=nonsense").status_code == 422


@pytest.mark.parametrize("rule", sorted(PAGES_OF_AN_ORG), ids=" ".join)
def test_who_is_signed_out_signs_in_and_comes_back(app: Flask, office: Office, rule: tuple[str, str]) -> None:
    path = office.home.rstrip("/") + _BLANK.sub("key_x", rule[1])
    client = SeparateClient(app)
    if rule[0] == "GET":
        assert client.get(path).headers["Location"] == f"/login?next={path}"
    else:
        assert client.post(path).status_code == 401


@pytest.mark.parametrize("rule", sorted(PAGES_OF_AN_ORG), ids=" ".join)
def test_an_outsider_is_told_nothing_and_a_member_only_what_the_role_permits(
    office: Office, world: World, rule: tuple[str, str]
) -> None:
    _, path = rule
    key, _ = world.key(office.org)
    outsider, member = office.outsider(), office.member()
    for place in (office.home, office.sandbox, "/dashboard/org_nowhere/"):
        below = place.rstrip("/") + _BLANK.sub(key.id, path)
        refused = outsider.client.open(below, method=rule[0])
        assert refused.status_code == 404
        assert "Nothing here that you may see" in refused.get_data(as_text=True)
        assert office.org.name not in refused.get_data(as_text=True)
    if PAGES_OF_AN_ORG[rule] is Scope.ADMIN:
        refused = member.client.open(office.home.rstrip("/") + _BLANK.sub(key.id, path), method=rule[0])
        assert refused.status_code == 403
        needed = "an operator of the server" if rule in PAGES_OF_OPERATORS else "the role admin or owner"
        assert f"This takes {needed}" in refused.get_data(as_text=True)


def test_a_page_is_for_one_environment_and_leads_to_the_other(office: Office) -> None:
    live, test = office.page(office.home), office.page(office.sandbox)
    assert live.all("html")[0].get("data-env") == "live"
    assert test.all("html")[0].get("data-env") == "test"
    assert "nothing on this page reaches live data" in test.text
    assert office.sandbox in live.links()
    assert office.home in test.links()


def test_each_page_has_one_heading_its_landmarks_and_a_way_past_the_menu(office: Office) -> None:
    keys = [f"{office.home}keys{below}" for below in ("", f"/{office.key('k').id}", "?search=nothing", "?need=left")]
    for path in (
        "/dashboard", "/account", "/outbox", "/account/password", "/activate", office.home, office.sandbox, *keys,
    ):  # fmt: skip
        page = office.page(path)
        assert len(page.all("h1")) == 1, path
        assert len(page.all("main")) == 1
        assert page.links()[0] == "#main"
        assert page.all("html")[0]["lang"] == "en"
        icons = {icon["href"].lstrip("#") for icon in page.all("use")}
        assert icons <= {symbol["id"] for symbol in page.all("symbol")}, path
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        for _, attributes in page.elements:
            assert {*attributes.get("aria-labelledby", "").split()} <= {*ids}
            assert not {name for name in attributes if name.startswith("on") or name == "style"}


def test_a_page_loads_only_what_is_here_and_runs_nothing_that_is_written_in_it(office: Office) -> None:
    response = office.browser.get(office.home)
    policy = response.headers["Content-Security-Policy"]
    assert "script-src 'self'; style-src 'self';" in policy
    assert policy.startswith("default-src 'none';")
    assert response.headers["Cache-Control"] == "no-store"
    page = Shown(response)
    assert all(script["src"].startswith("/static/") for script in page.all("script"))
    assert page.all("style") == []
    sent = [response.get_data()]
    for address in [*(script["src"] for script in page.all("script")), *(link["href"] for link in page.all("link"))]:
        kept = office.browser.client.get(address)
        assert kept.headers["Cache-Control"] == f"public, max-age={templating.KEPT}"
        sent.append(kept.get_data())
    assert sum(len(gzip.compress(content)) for content in sent) < LARGEST


def test_a_static_file_without_its_digest_is_asked_for_each_time(client: SeparateClient) -> None:
    for address in ("/static/app.css", "/static/app.css?v=other", "/static/nothing.css?v=x"):
        assert client.get(address).headers["Cache-Control"] in ("no-cache", "no-store")


def test_htmx_is_the_file_of_its_package() -> None:
    """https://registry.npmjs.org/htmx.org/-/htmx.org-4.0.1.tgz, package/dist/htmx.min.js."""
    content = (Path(templating.__file__).with_name("static") / "htmx-4.0.1.min.js").read_bytes()
    assert sha256(content).hexdigest() == "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"


def test_the_name_of_an_organization_is_text(office: Office, world: World) -> None:
    with writing(db.session):
        rename_org(db.session, world.clock, SYSTEM, get_org(db.session, office.org.id), HOSTILE)
    for path in (office.home, "/dashboard"):
        page = office.page(path)
        assert HOSTILE in page.text
        assert "<script>alert" not in page.html


def test_what_cannot_be_seen_in_a_text_of_others_is_shown_as_its_number() -> None:
    assert templating.visible("a\u202eb\u200d\x1b") == (
        'a<small class="ctl">U+202E</small>b\u200d<small class="ctl">U+001B</small>'
    )
    assert templating.with_code("Run `<x>` now.") == "Run <code>&lt;x&gt;</code> now."
    assert templating.number(None) == "—"
    assert templating.number(1_234) == "1,234"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "now"), (-12, "12 seconds ago"), (-86_400 * 143, "143 days ago"), (86_400 * 41, "in 41 days")],
)
def test_a_moment_is_told_by_its_distance_with_the_exact_one_behind_it(
    app: Flask, world: World, seconds: int, words: str
) -> None:
    moment = world.clock() + timedelta(seconds=seconds)
    shown = templating.ago(moment)
    assert f">{words}</time>" in shown
    assert f'title="{templating.exact(moment)}"' in shown


@pytest.mark.fault
@pytest.mark.parametrize(
    ("seconds", "words"),
    [(90 * 86_400 - 60, "in 90 days"), (86_400 - 30, "in a day"), (-3_599.9, "an hour ago"),
     (30 * 60 - 1, "in 30 minutes"), (89.4 * 86_400, "in 89 days"), (59.2, "in 59 seconds"),
     (366 * 86_400, "in 1 year, 1 day")],
)  # fmt: skip
def test_a_length_that_was_just_chosen_is_not_a_day_less(seconds: float, words: str) -> None:
    now = datetime(2026, 11, 26, 9, tzinfo=UTC)
    assert f">{words}</time>" in templating.time_from(now, now + timedelta(seconds=seconds))


def test_a_piece_of_markup_takes_text_of_a_template_for_text(app: Flask) -> None:
    template = app.jinja_env.from_string("{{ said('ok', name, 'p') }}{{ select('a', name, [(name, name)], name) }}")
    assert "<i>" not in template.render(name="<i>")
    assert template.render(name="<i>").count("&lt;i&gt;") == 4
    assert "<span><i></span>" in template.render(name=Markup("<i>"))


def test_a_header_that_is_drawn_once_is_of_who_is_there_and_of_the_page(office: Office, world: World) -> None:
    bob = world.member(office.org, Role.MEMBER)
    page, theirs = f"{office.home}members", office.browser_of(bob)
    for _ in range(2):
        own, other = office.page(page), Shown(theirs.get(page))
        assert f"{office.owner.email} · owner" in own.text
        assert f"{bob.email} · member" in other.text
        assert f"{office.owner.email} ·" not in other.text
        assert f"{office.home}keys" in own.links()
        assert f"{office.home}keys" not in other.links()
    for address, here in ((page, page), (office.home, office.home), (office.sandbox, office.sandbox)):
        current = [link["href"] for link in office.page(address).all("a") if link.get("aria-current") == "page"]
        assert current == [here]
    with writing(db.session):
        rename_org(db.session, world.clock, SYSTEM, get_org(db.session, office.org.id), "renamed")
    assert "Mushu, home of renamed" in [link.get("aria-label") for link in office.page(page).all("a")]


def test_an_address_has_the_prefix_of_its_own_request(app: Flask, office: Office) -> None:
    for prefix in ("", "/keys", ""):
        with app.test_request_context(environ_overrides={"SCRIPT_NAME": prefix}):
            page = templating.address("dashboard.show_keys", org_id=office.org.id, search="a b/&")
            assert page == f"{prefix}{office.home}keys?search=a+b/%26"
            assert templating.asset("app.css").startswith(f"{prefix}/static/app.css?v=")


@pytest.mark.fault
def test_what_a_template_reads_and_an_object_has_not_is_an_error_and_no_dash(app: Flask, world: World) -> None:
    assert render_template_string("{{ form.name or 'nothing' }}{{ other or '' }}", form={}) == "nothing"
    with pytest.raises(AttributeError, match="type has no 'missing'"):
        render_template_string("{{ key.missing or '-' }}", key=World)


def test_a_page_that_does_not_exist_says_so_to_people(office: Office) -> None:
    missing = office.browser.get(f"{office.home}nothing/here")
    assert missing.status_code == 404
    assert "Nothing here that you may see" in missing.get_data(as_text=True)


@org_page(Scope.ADMIN)
def poke(org_id: str) -> Response:
    """Change something."""
    with writing(db.session):
        pass
    return redirect(to("show_home"))  # type: ignore[return-value]


@org_page(Scope.ADMIN)
def crash(org_id: str) -> Response:
    """Fail."""
    raise RuntimeError(current_environment())


class TestForms:
    @pytest.fixture(autouse=True)
    def with_a_form(self, monkeypatch: pytest.MonkeyPatch) -> None:
        more = (("POST", "/poke", poke), ("GET", "/poke", crash), ("POST", "/only", poke))
        monkeypatch.setattr(routes, "PAGES", (*routes.PAGES, *more))

    def test_a_form_without_its_token_changes_nothing(self, office: Office) -> None:
        refused = office.browser.client.post(f"{office.home}poke")
        assert refused.status_code == 400
        assert "Nothing was changed" in refused.get_data(as_text=True)
        office.browser.get(office.home)
        assert office.browser.submit(f"{office.home}poke").headers["Location"] == office.home
        office.browser.get(office.home)
        assert office.browser.submit(f"{office.sandbox}poke").headers["Location"] == office.sandbox

    def test_a_form_of_a_session_that_is_over_says_so_and_leads_back(self, app: Flask, office: Office) -> None:
        for form, back in (("poke", f"{office.home}poke"), ("only", "/")):
            over = SeparateClient(app).post(f"{office.home}{form}")
            assert over.status_code == 401
            assert "Your session is over" in Shown(over).text
            assert f"/login?next={back}" in Shown(over).links()

    @pytest.mark.fault
    def test_a_role_that_was_lost_meanwhile_changes_nothing_and_says_so(
        self, office: Office, world: World, app: Flask
    ) -> None:
        admin = world.member(office.org, Role.ADMIN)
        browser = office.browser_of(admin)
        browser.get(office.home)

        def demote() -> None:
            app.before_request_funcs[None].remove(demote)
            with own_session(db.engine) as session, writing(session):
                set_role(session, world.clock, SYSTEM, get_member(session, office.org.id, admin.id), Role.MEMBER)

        app.before_request_funcs.setdefault(None, []).append(demote)
        refused = browser.submit(f"{office.home}poke")
        assert refused.status_code == 403
        assert "This takes the role admin or owner" in refused.get_data(as_text=True)

    def test_a_crash_is_told_without_its_cause(self, office: Office) -> None:
        failed = office.browser.get(f"{office.home}poke")
        assert failed.status_code == 500
        assert "Its log says why" in failed.get_data(as_text=True)
        assert "RuntimeError" not in failed.get_data(as_text=True)
