"""Guessing over HTTP: who guesses is slowed down, and who signed in before gets in all the same."""

from typing import Final

import pytest
from flask import Flask
from sqlalchemy import text

from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.users.links import issue_link
from mushu.server.users.models import User
from mushu.server.users.service import disable_user, enable_user, get_user, set_password
from tests.conftest import TurnableClock
from tests.server.conftest import World
from tests.server.statements import statements
from tests.server.web.asking import SeparateClient
from tests.server.web.pages.browser import Browser

pytestmark = pytest.mark.unmeasured

KNOWN: Final = "mushu-known"
#: What a known browser or network may get wrong within a day; and rows that no stranger can go beyond.
TRIES: Final = 10
WRONG: Final = "wrong password!"


@pytest.fixture
def user(world: World) -> User:
    return world.user("ada@example.com", with_password=True)


class Callers:
    """Asks from any address."""

    def __init__(self, app: Flask, world: World) -> None:
        self.app, self.world, self.client = app, world, SeparateClient(app)
        self._number = 0

    def login(self, email: str, password: str, address: str) -> int:
        """Sign in for a CLI token."""
        body = {"email": email, "password": password}
        response = self.client.post("/auth/login", json=body, environ_overrides={"REMOTE_ADDR": address})
        return response.status_code

    def strike(self, email: str) -> int:
        """Guess once, from an address that never asked before."""
        self._number += 1
        return self.login(email, WRONG, f"203.0.{self._number // 250}.{self._number % 250}")

    def block(self, email: str) -> None:
        """Guess until the account has to wait."""
        while self.strike(email) != 429:
            pass

    def browser(self, address: str) -> Browser:
        browser = Browser(self.app)
        browser.client.environ_base["REMOTE_ADDR"] = address
        return browser


@pytest.fixture
def callers(app: Flask, world: World) -> Callers:
    return Callers(app, world)


def cookie_of(browser: Browser) -> str:
    cookie = browser.client.get_cookie(KNOWN)
    return cookie.value if cookie is not None else ""


def known_browser(callers: Callers, email: str, address: str = "192.0.2.1") -> Browser:
    """Return a browser in which the user signed in and out, and that has a network of its own since."""
    browser = callers.browser(address)
    assert browser.sign_in(email, callers.world.password).status_code == 303
    browser.get("/account")
    assert browser.submit("/logout").status_code == 303
    return browser


def moved(callers: Callers, browser: Browser, address: str) -> Browser:
    """Return a browser elsewhere that holds what this one holds by which it is known."""
    other = callers.browser(address)
    other.client.set_cookie(KNOWN, cookie_of(browser))
    return other


def rows(table: str) -> int:
    with db.engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


class TestTheOwner:
    @pytest.mark.fault
    def test_gets_in_with_the_right_password_in_a_known_browser_whatever_others_do(
        self, callers: Callers, user: User, clock: TurnableClock
    ) -> None:
        browser, answers = known_browser(callers, user.email), []
        for second in range(70):
            clock.turn(seconds=1)
            for _ in range(3):  # the first one after a wait is never the owner
                callers.strike(user.email)
            if second % 14 == 13:
                owner = moved(callers, browser, f"198.51.100.{second}")
                answers.append(owner.sign_in(user.email, callers.world.password).status_code)
        assert answers == [303] * 5

    @pytest.mark.fault
    @pytest.mark.parametrize(
        ("before", "later"),
        [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1", "::ffff:192.0.2.1"),
            ("2001:db8:1:2::1", "2001:db8:1:2:aaaa:bbbb:cccc:dddd"),
        ],
    )
    def test_gets_in_from_a_known_network_without_a_browser(
        self, callers: Callers, user: User, clock: TurnableClock, before: str, later: str
    ) -> None:
        assert callers.login(user.email, callers.world.password, before) == 200
        answers = []
        for _ in range(20):
            clock.turn(seconds=4)
            callers.strike(user.email)
            callers.strike(user.email)
            answers.append(callers.login(user.email, callers.world.password, later))
        assert answers == [200] * 20
        assert callers.login(user.email, callers.world.password, "192.0.2.200") == 429, "others still have to wait"

    @pytest.mark.fault
    def test_changes_the_password_while_others_guess_it(self, callers: Callers, user: User) -> None:
        browser = callers.browser("192.0.2.1")
        browser.sign_in(user.email, callers.world.password)
        callers.block(user.email)
        browser.get("/account/password")
        new = "another good passphrase"
        changed = browser.submit("/account/password", current=callers.world.password, password=new, repeated=new)
        assert changed.status_code == 303
        callers.block(user.email)
        again = moved(callers, browser, "192.0.2.77")
        assert again.sign_in(user.email, new).status_code == 303, "and this browser is known since"

    @pytest.mark.fault
    def test_gets_in_after_an_operator_sent_a_link(self, callers: Callers, user: User, world: World) -> None:
        callers.block(user.email)
        with writing(db.session):
            link = issue_link(db.session, world.clock, SYSTEM, get_user(db.session, user.id)).reveal()
        browser = callers.browser("198.51.100.9")
        new = {"password": "another good passphrase", "repeated": "another good passphrase"}
        assert browser.client.post(f"/password/{link}", data=new).status_code == 200
        assert browser.sign_in(user.email, new["password"]).status_code == 303

    def test_who_guesses_at_the_current_password_in_a_session_is_slowed_down(
        self, callers: Callers, user: User
    ) -> None:
        browser = callers.browser("192.0.2.1")
        browser.sign_in(user.email, callers.world.password)
        new, texts = "another good passphrase", []
        for _ in range(8):
            browser.get("/account/password")
            page = browser.submit("/account/password", current=WRONG, password=new, repeated=new)
            texts.append("failed too often" in page.get_data(as_text=True))
        assert texts == [False] * 6 + [True] * 2


class TestAKnownClient:
    def test_has_a_bounded_number_of_tries_of_its_own(self, callers: Callers, user: User, clock: TurnableClock) -> None:
        browser = known_browser(callers, user.email)
        callers.block(user.email)
        thief = moved(callers, browser, "198.51.100.1")
        answers = [thief.sign_in(user.email, WRONG).status_code for _ in range(TRIES + 3)]
        assert answers == [401] * TRIES + [429] * 3
        clock.turn(hours=23)
        callers.block(user.email)
        assert thief.sign_in(user.email, callers.world.password).status_code == 429, "as long as a day"

    def test_by_network_has_as_many(self, callers: Callers, user: User) -> None:
        callers.login(user.email, callers.world.password, "192.0.2.1")
        callers.block(user.email)
        answers = [callers.login(user.email, WRONG, "192.0.2.1") for _ in range(TRIES + 3)]
        assert answers == [401] * TRIES + [429] * 3

    def test_starts_afresh_with_the_right_password(self, callers: Callers, user: User) -> None:
        browser = known_browser(callers, user.email)
        callers.block(user.email)
        owner = moved(callers, browser, "198.51.100.1")
        for _ in range(3):
            for _ in range(TRIES - 1):
                assert owner.sign_in(user.email, WRONG).status_code == 401
            assert owner.sign_in(user.email, callers.world.password).status_code == 303
            owner.get("/account")
            owner.submit("/logout")

    def test_is_not_known_for_another_account(self, callers: Callers, user: User, world: World) -> None:
        mallory = world.user(with_password=True)
        browser = known_browser(callers, mallory.email, "198.51.100.1")
        callers.block(user.email)
        assert cookie_of(browser)
        assert browser.sign_in(user.email, world.password).status_code == 429
        assert callers.login(user.email, world.password, "198.51.100.1") == 429

    @pytest.mark.parametrize("ended_by", ["a new password", "disabled"])
    def test_is_not_known_after(
        self, callers: Callers, user: User, world: World, clock: TurnableClock, ended_by: str
    ) -> None:
        browser = known_browser(callers, user.email)
        with writing(db.session):  # at the same moment of the clock: no comparison of times can be what ends it
            found = get_user(db.session, user.id)
            if ended_by == "disabled":
                disable_user(db.session, clock, SYSTEM, found)
                enable_user(db.session, clock, SYSTEM, found)
            else:
                set_password(db.session, clock, SYSTEM, found, found.password_hash or "")
        callers.block(user.email)
        assert moved(callers, browser, "198.51.100.1").sign_in(user.email, world.password).status_code == 429
        assert callers.login(user.email, world.password, "192.0.2.1") == 429

    def test_is_not_known_half_a_year_after_its_last_sign_in(
        self, callers: Callers, user: User, world: World, clock: TurnableClock
    ) -> None:
        browser = known_browser(callers, user.email)
        clock.turn(days=180)
        callers.block(user.email)
        assert moved(callers, browser, "198.51.100.1").sign_in(user.email, world.password).status_code == 429

    def test_is_none_that_was_planted(self, callers: Callers, user: User, world: World) -> None:
        """A cookie that another set in this browser must not be known for who signs in here."""
        mallory = known_browser(callers, world.user(with_password=True).email)
        for planted in (cookie_of(mallory), "x" * 43, "x", "\u00e9", "x" * 3_000, '"', ""):
            victim = callers.browser("192.0.2.50")
            victim.client.set_cookie(KNOWN, planted)
            assert victim.sign_in(user.email, world.password).status_code == 303
            assert cookie_of(victim) not in (planted, "")
        callers.block(user.email)
        assert moved(callers, mallory, "198.51.100.1").sign_in(user.email, world.password).status_code == 429

    def test_keeps_its_cookie_and_no_user_has_more_than_ten_of_a_kind(
        self, callers: Callers, user: User, world: World, clock: TurnableClock
    ) -> None:
        first = known_browser(callers, user.email)
        kept = cookie_of(first)
        for number in range(15):
            clock.turn(minutes=1)
            known_browser(callers, user.email, f"192.0.2.{number + 10}")
            first.sign_in(user.email, world.password)
            first.get("/account")
            first.submit("/logout")
            assert cookie_of(first) == kept, "and that it is used keeps it known"
        assert rows("known_clients") == 20

    def test_is_kept_as_a_digest(self, callers: Callers, user: User) -> None:
        browser = known_browser(callers, user.email)
        with db.engine.connect() as connection:
            kept = str(connection.execute(text("SELECT * FROM known_clients")).all())
        assert cookie_of(browser)
        assert cookie_of(browser) not in kept


class TestAStranger:
    @pytest.mark.fault
    def test_with_a_network_of_ipv6_is_one_who_guesses(self, callers: Callers) -> None:
        def guess(number: int) -> int:
            return callers.login(f"{number}@example.com", WRONG, f"2001:db8:1:2:{number:x}::{number:x}")

        assert [guess(number) for number in range(53)] == [401] * 51 + [429] * 2
        assert callers.login("other@example.com", WRONG, "2001:db8:1:3::1") == 401, "the next network is another one"

    @pytest.mark.fault
    def test_with_an_ipv4_address_is_one_who_guesses_in_either_spelling(self, callers: Callers) -> None:
        spellings = ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201")
        answers = [callers.login(f"{n}@example.com", WRONG, spellings[n % 3]) for n in range(53)]
        assert answers == [401] * 51 + [429] * 2

    def test_learns_nothing_of_which_accounts_there_are(self, callers: Callers, user: User) -> None:
        """Neither from words, nor from the work that is done, with a cookie of their own or without."""
        mallory = known_browser(callers, callers.world.user(with_password=True).email, "198.51.100.1")
        seen = {}
        for place, email in enumerate((user.email, "nobody@example.com")):
            asked = []
            for number in range(9):
                with statements(db.engine) as ran:
                    status = callers.login(email, WRONG, f"203.0.{place}.{number}")
                asked.append((status, list(ran)))
            browser = moved(callers, mallory, f"198.51.100.{place + 2}")
            browser.get("/login")
            with statements(db.engine) as ran:
                page = browser.submit("/login", email=email, password=WRONG)
            asked.append((page.status_code, list(ran)))
            assert email in page.get_data(as_text=True)
            asked.append((0, [page.get_data(as_text=True).replace(email, "").partition("csrf_token")[0]]))
            seen[email] = asked
        first, second = seen.values()
        assert first == second

    @pytest.mark.fault
    def test_fills_no_table_and_erases_nothing_of_what_was_counted(
        self, callers: Callers, user: User, monkeypatch: pytest.MonkeyPatch, clock: TurnableClock
    ) -> None:
        monkeypatch.setattr("mushu.server.users.throttle.MOST_ROWS", 30, raising=False)
        monkeypatch.setattr("mushu.server.users.throttle.SHARED_ROWS", 7, raising=False)
        callers.block(user.email)
        for number in range(300):
            callers.login(f"{number}@example.com", WRONG, f"2001:db8:{number:x}::1")
        assert rows("login_throttles") <= 30 + 2 * 7 + 1
        assert callers.strike(user.email) == 429, "the account waits as before"
        assert callers.login("new@example.com", WRONG, "2001:db8:ffff::1") == 429, "shared counters are as strict"
        clock.turn(hours=24, seconds=1)
        assert callers.login("new@example.com", WRONG, "2001:db8:ffff::1") == 401
        assert rows("login_throttles") == 2

    def test_who_has_an_account_cannot_clear_a_counter_that_is_shared(
        self, callers: Callers, world: World, monkeypatch: pytest.MonkeyPatch, clock: TurnableClock
    ) -> None:
        monkeypatch.setattr("mushu.server.users.throttle.MOST_ROWS", 0)
        monkeypatch.setattr("mushu.server.users.throttle.SHARED_ROWS", 1)
        mallory, guessed = world.user(with_password=True), 0
        for number in range(40):
            guessed += callers.login("victim@example.com", WRONG, f"2001:db8:{number:x}::1") == 401
            callers.login(mallory.email, world.password, f"198.51.100.{number}")
            with writing(db.session):  # and not because mallory is known from then on
                db.session.execute(text("DELETE FROM known_clients"))
        assert guessed <= 6

    @pytest.mark.fault
    def test_makes_rows_in_a_few_tables_only_and_a_bounded_number(self, callers: Callers, world: World) -> None:
        """Every address that is open to strangers is asked; `guard` keeps them from all others."""
        from mushu.server import schema
        from mushu.server.web.guard import PUBLIC, requirement_of

        org = world.org()
        assert org.id
        before = {table.name: rows(table.name) for table in schema.metadata.sorted_tables}
        login, key = {"email": "x@example.com", "password": WRONG}, {"key": "msk_live_x"}
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": "x", "password": WRONG}
        asked = 0
        for rule in callers.app.url_map.iter_rules():
            if requirement_of(callers.app.view_functions[rule.endpoint]) != PUBLIC:
                continue
            path = rule.rule
            for argument in rule.arguments:
                for kind in ("", "path:"):
                    path = path.replace(f"<{kind}{argument}>", "x")
            for method in (rule.methods or set()) - {"OPTIONS"}:
                for number in range(20):
                    origin = {"REMOTE_ADDR": f"2001:db8:5:5::{number:x}"}
                    callers.client.open(
                        path, method=method, json=key if "validate" in path else login, environ_overrides=origin
                    )
                    callers.client.open(path, method=method, data=form | login, environ_overrides=origin)
                    asked += 2
        grown = {name: rows(name) - count for name, count in before.items() if rows(name) != count}
        assert asked > 500
        # Of accounts that are not there, one row counts the failures, and the audit trail is told once an hour.
        assert grown == {"login_throttles": 2, "login_failures": 1, "audit_events": 1, "device_authorizations": 40}
        for number in range(40):
            origin = {"REMOTE_ADDR": f"2001:db8:5:5:1::{number:x}"}
            callers.client.post("/auth/device/code", data={"client_id": "x"}, environ_overrides=origin)
        assert rows("device_authorizations") == 50
