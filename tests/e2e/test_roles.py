"""The dashboard in a browser, by role: what somebody may do works and says what happened, all else is not offered.

Every form of the dashboard is sent once, by the one who needs the least for it; half of them without JavaScript.
"""

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest

from mushu.server.keys import Scope
from script.pictures.seed import ADMIN, MEMBER, OPERATOR, OUTSIDER, OWNER
from tests.e2e.browsers import Browsers, browsers, org_of, server
from tests.e2e.conftest import CHROMIUM, Server
from tests.server.web.endpoints import PAGES_OF_AN_ORG, PAGES_OF_OPERATORS, PAGES_OF_OWNERS, SERVER_PAGES

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request

__all__ = ["browsers", "server"]
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

#: Method and rule; of an organization, what follows its address.
Rule = tuple[str, str]
_SERVER: Final = "/dashboard/server"
_BLANK: Final = re.compile("<[a-z_]+>")
_RULES: Final = sorted([*PAGES_OF_AN_ORG, *SERVER_PAGES], key=lambda rule: "<" in rule[1])
_READS: Final = {rule for rule, scope in PAGES_OF_AN_ORG.items() if scope is Scope.READ}
_ADMINISTERS: Final = {*PAGES_OF_AN_ORG} - PAGES_OF_OWNERS - PAGES_OF_OPERATORS
#: What each may do. An owner and an operator are not one: the first person of a server is both.
MAY: Final[dict[str, set[Rule]]] = {
    OWNER: {*_RULES},
    ADMIN: _ADMINISTERS,
    MEMBER: _READS,
    OUTSIDER: set(),
    OPERATOR: {*SERVER_PAGES},
}
#: The pages that lead to all others.
VISITED: Final = (
    "/", "/keys", "/keys/<key_id>", "/keys/<key_id>/rotate", "/keys/<key_id>/delete", "/keys/new", "/destinations",
    "/members", "/audit", "/settings", f"{_SERVER}/health", f"{_SERVER}/policies",
)  # fmt: skip
#: What each types by hand, the status, and the heading of the page.
TYPED: Final = (
    (ADMIN, "/settings/delete", 403, "Your role does not permit this"),
    (ADMIN, "/destinations/mailer-env/remove", 403, "Your role does not permit this"),
    (ADMIN, f"{_SERVER}/health", 404, "Nothing here that you may see"),
    (MEMBER, "/keys", 403, "Your role does not permit this"),
    (MEMBER, "/keys/new", 403, "Your role does not permit this"),
    (MEMBER, "/sandbox/audit", 403, "Your role does not permit this"),
    (MEMBER, f"{_SERVER}/policies", 404, "Nothing here that you may see"),
    (OUTSIDER, "/", 404, "Nothing here that you may see"),
    (OUTSIDER, "/keys", 404, "Nothing here that you may see"),
    (OUTSIDER, f"{_SERVER}/health", 404, "Nothing here that you may see"),
    (OPERATOR, "/destinations", 404, "Nothing here that you may see"),
)  # fmt: skip


def rule_of(method: str, address: str) -> Rule | None:
    """Return the rule of an address of the dashboard; a filter or a position in a page is none of its own."""
    path = re.sub(r"^/dashboard/org_\w+(/sandbox)?(?=/)", "", urlsplit(address).path)
    for known, rule in _RULES:
        if known == method and re.fullmatch(_BLANK.sub("[^/]+", rule), path):
            return known, rule
    assert not path.startswith("/dashboard/"), f"{method} {address} is no page"
    return None


def offered(page: "Page") -> set[Rule]:
    """Return what the links and forms of a page lead to, within its organization and the server."""
    org = org_of(page)
    found = page.eval_on_selector_all("main a[href], nav a[href]", "all => all.map(one => ['GET', one.href])")
    found += page.eval_on_selector_all("form", "all => all.map(one => [one.method.toUpperCase(), one.action])")
    own = [(method, href) for method, href in found if org in href or _SERVER in href]
    return {rule for method, href in own if (rule := rule_of(method, href)) is not None}


@pytest.fixture(scope="module")
def org(browsers: Browsers) -> str:
    with browsers.of(OWNER) as page:
        return org_of(page)


def test_what_somebody_may_not_do_is_not_offered_and_answers_so_where_it_is_typed(browsers: Browsers, org: str) -> None:
    with browsers.of(OWNER) as page:
        page.goto(f"/dashboard/{org}/keys?search=billing")
        key = str(page.get_by_role("link", name="billing-worker").get_attribute("href")).rpartition("/")[2]
    for email, may in MAY.items():
        with browsers.of(email) as page:
            for rule in VISITED:
                if ("GET", rule) in may:
                    answer = page.goto(address_of(org, rule.replace("<key_id>", key)))
                    assert answer is not None
                    assert answer.status == 200, (email, rule)
                    assert offered(page) <= may, (email, rule, offered(page) - may)
            for who, path, status, heading in TYPED:
                if who == email:
                    answer = page.goto(address_of(org, path))
                    assert answer is not None
                    assert (answer.status, page.inner_text("h1")) == (status, heading), (email, path)
                    page.get_by_role("link", name="Your organizations").click()
                    page.wait_for_url("**/dashboard")


def address_of(org: str, path: str) -> str:
    return path if path.startswith(_SERVER) else f"/dashboard/{org}{path}"


class Person:
    """Somebody who does one thing after another, and reads what it says."""

    def __init__(self, page: "Page", org: str, sent: set[Rule]) -> None:
        self.page, self.org = page, org

        def note(request: "Request") -> None:
            rule = rule_of("POST", request.url) if request.method == "POST" else None
            if rule is not None:
                sent.add(rule)

        page.on("request", note)

    def opens(self, path: str) -> None:
        self.page.goto(address_of(self.org, path))

    def follows(self, name: str) -> None:
        self.page.get_by_role("link", name=name).first.click()

    def presses(self, name: str, told: str = "") -> None:
        """Press a button, and read in the note or the heading of the page after it what happened."""
        with self.page.expect_navigation():
            self.page.get_by_role("button", name=name).first.click()
        read = " ".join(self.page.locator("main [role=status], h1").all_inner_texts())
        assert told in read, (name, read)

    def fills(self, **fields: str) -> None:
        for label, text in fields.items():
            self.page.get_by_label(re.compile(f"^{label.replace('_', ' ')}")).first.fill(text)


def test_every_form_works_once_by_who_needs_the_least_for_it(browsers: Browsers, server: Server, org: str) -> None:
    sent: set[Rule] = set()
    with browsers.of(ADMIN, 390, "dark", script=False) as page:
        _keys_as_an_admin(Person(page, org, sent))
    with browsers.of(ADMIN) as page:
        _members_as_an_admin(Person(page, org, sent))
    with browsers.of(OWNER) as page:
        _the_server_as_an_operator(Person(page, org, sent), server)
        _hands_over(Person(page, org, sent))
    with browsers.of(ADMIN, 390, "dark", script=False) as page:
        _ends_it_as_the_owner(Person(page, org, sent))
    assert sent == {rule for rule in _RULES if rule[0] == "POST"}


def _keys_as_an_admin(bob: Person) -> None:
    page = bob.page
    bob.opens("/keys/new")
    bob.fills(Name="mailer")
    page.get_by_label("mailer-env").check()
    bob.presses("Create the key", "mailer is delivered")
    bob.follows("Open the key")
    bob.presses("Check now", "Mushu looked at 1 destination.")
    bob.presses("Disable", "mailer is disabled")
    bob.presses("Enable", "mailer works again")
    bob.follows("Rotate")
    bob.presses("Rotate it", "Rotation of mailer")
    bob.opens("/keys?state=retiring&search=checkout")
    bob.follows("checkout-api")
    bob.follows("Watch the rotation")
    bob.presses("1 more hour", "The old key of checkout-api works until")
    bob.opens("/keys/new")
    bob.fills(Name="shown")
    page.get_by_label("Show it once").check()
    bob.presses("Create the key", "Store this key now")
    page.get_by_label("I have stored it").check()
    bob.presses("Done", "shown")
    bob.follows("Delete")
    bob.presses("Delete for good", "shown is deleted for good")
    bob.opens("/keys?search=nightly")
    page.get_by_label("Pick nightly-backup").check()
    bob.presses("Disable", "Disable 1 key?")
    bob.presses("Disable 1 key", "1 key is disabled.")


def _members_as_an_admin(bob: Person) -> None:
    bob.opens("/members")
    row = bob.page.get_by_role("row").filter(has_text=MEMBER)
    row.get_by_role("button", name="Make an admin").click()
    bob.page.get_by_text(f"{MEMBER} has the role admin from now on.").wait_for()
    row.get_by_role("link", name="Remove").click()
    bob.presses("Remove them", f"{MEMBER} is no member any more.")
    bob.fills(**{"E-mail": "frank@example.com"})
    bob.presses("Make an invitation", "Hand this link over")
    bob.presses("Cancel the invitation", "The invitation is cancelled")
    bob.opens("/settings")
    bob.fills(It_usually_lives="60d")
    bob.presses("Save", "Saved.")


def _the_server_as_an_operator(alice: Person, server: Server) -> None:
    alice.opens("/destinations")
    alice.follows("Rotate it")
    alice.presses("Rotate it over what is there", "Rotation of mobile-push")
    alice.opens("/destinations")
    alice.fills(Name="new-env", Address=f"env:{server.instance.parent}/new.env")
    alice.presses("Add it", "new-env stands for env:")
    alice.presses("Check new-env now", "new-env: it is free, and a key can be put there.")
    alice.follows("Remove new-env")
    alice.presses("Remove it", "new-env is removed.")
    alice.opens(f"{_SERVER}/policies")
    alice.fills(Name="shop", Id_of_the_organization=alice.org)
    alice.presses("Add it", "The policy shop is added.")
    alice.follows("Remove shop")
    alice.presses("Remove it", "The policy shop denies everybody from now on.")


def _hands_over(alice: Person) -> None:
    alice.opens("/members")
    alice.page.get_by_role("row").filter(has_text=ADMIN).get_by_role("link", name="Make the owner").click()
    alice.fills(Type="wrong")
    alice.presses("Hand it over", "Make bob@example.com the owner?")
    assert "Nothing was changed." in alice.page.inner_text("[role=alert]")
    alice.fills(Type=alice.org)
    alice.presses("Hand it over", "bob@example.com owns")
    assert ("GET", "/settings/delete") not in offered(alice.page)


def _ends_it_as_the_owner(bob: Person) -> None:
    bob.opens("/settings")
    bob.follows("Delete this organization")
    bob.fills(Type=bob.org)
    bob.presses("Delete for good", "is deleted, with all its keys.")
    bob.opens("/members")
    assert bob.page.inner_text("h1") == "Nothing here that you may see"
