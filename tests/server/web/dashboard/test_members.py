"""The page of members: who sees it, what an admin changes there, and what only the owner can."""

import re

import pytest

from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.orgs.members import add_member, find_role
from mushu.server.orgs.models import Role
from tests.server.conftest import World
from tests.server.statements import statements
from tests.server.web.dashboard.conftest import Office, Shown
from tests.server.web.dashboard.forms import send
from tests.server.web.pages.browser import Browser

_LINK = re.compile(r"https?://[^<]*(/invites/[^<]+)<")


def role_of(office: Office, user_id: str) -> Role | None:
    with reading(db.session):
        return find_role(db.session, office.org.id, user_id)


def posted(browser: Browser, page: str, path: str, **fields: str) -> Shown:
    """Send a form from a page, and follow where it leads."""
    browser.get(page)
    answer = browser.submit(path, **fields)
    return Shown(browser.get(answer.headers["Location"]) if answer.status_code == 303 else answer)


def test_a_member_sees_who_is_there_and_an_admin_changes_it(office: Office, world: World) -> None:
    bob, page = world.member(office.org, Role.MEMBER), f"{office.home}members"
    assert page in office.page(office.home).links()
    member = office.browser_of(bob)
    shown = Shown(member.get(page))
    assert office.owner.email in shown.text
    assert bob.email in shown.text
    assert "Invite somebody" not in shown.text
    assert "Make an admin" not in shown.text
    assert office.outsider().get(page).status_code == 404
    one = f"{page}/{bob.id}"
    assert member.submit(f"{one}/role", role="admin").status_code == 403
    assert "has the role admin from now on" in posted(office.browser, page, f"{one}/role", role="admin").text
    assert role_of(office, bob.id) is Role.ADMIN
    for path, role, words in (
        (one, "owner", "The role must be admin or member"),
        (f"{page}/{office.owner.id}", "member", "Transfer the ownership first"),
    ):
        assert words in posted(office.browser, page, f"{path}/role", role=role).text
    hand_over = member.get(f"{one}/hand-over")
    assert hand_over.status_code == 403
    assert "This takes the role owner" in Shown(hand_over).text
    assert "Invitations that they made are withdrawn" in office.page(f"{one}/remove").text
    gone = send(office.browser, office.browser.get(f"{one}/remove"), f"{one}/remove")
    assert gone.headers["Location"] == page
    assert f"{bob.email} is no member any more" in office.page(page).text
    assert role_of(office, bob.id) is None
    assert member.get(page).status_code == 404
    assert office.browser.get(f"{one}/remove").status_code == 404


def test_an_invitation_is_made_shown_once_and_cancelled(office: Office, world: World) -> None:
    page, charlie = f"{office.home}members", world.user("charlie@example.com")
    invite = f"{page}/invite"
    made = send(office.browser, office.browser.get(page), invite, email="Charlie@example.com", role="admin", days="3")
    assert made.headers["Cache-Control"] == "no-store"
    assert "Only charlie@example.com can answer it" in Shown(made).text
    found = _LINK.search(made.get_data(as_text=True))
    assert found is not None
    link = found[1]
    assert link not in office.page(page).html
    theirs = office.browser_of(charlie)
    theirs.get(link)
    assert theirs.submit(link, decision="join").status_code == 200
    assert role_of(office, charlie.id) is Role.ADMIN
    open_one = send(office.browser, office.browser.get(page), invite, email="", role="member", days="7")
    assert "Who follows it first" in Shown(open_one).text
    shown = office.page(page)
    assert "Who follows the link first" in shown.text
    (cancel,) = [form["action"] for form in shown.all("form") if form["action"].endswith("/cancel")]
    assert "The invitation is cancelled" in posted(office.browser, page, cancel).text
    assert posted(office.browser, page, cancel).html.count("no invitation") == 0, "404 in the words for people"
    for wrong, words in (
        ({"days": "91"}, "An invitation lasts 1 to 90 days"),
        ({"days": "soon"}, "as a number"),
        ({"role": "owner"}, "The role must be admin or member"),
        ({"email": "nobody"}, "nobody"),
    ):
        given = {"email": "dora@example.com", "role": "member", "days": "7"} | wrong
        refused = send(office.browser, office.browser.get(page), invite, **given)
        assert refused.status_code == 422
        assert words in refused.get_data(as_text=True)
        assert given["email"] in refused.get_data(as_text=True)


@pytest.mark.fault
def test_the_same_invitation_form_sent_again_answers_410_and_makes_nothing(office: Office) -> None:
    page, invite = f"{office.home}members", f"{office.home}members/invite"
    form, fields = office.browser.get(page), {"email": "", "role": "member", "days": "7"}
    assert send(office.browser, form, invite, **fields).status_code == 200
    for change in ({}, {"role": "admin"}):  # by reload, and by the back button
        again = send(office.browser, form, invite, **fields | change)
        assert again.status_code == 410
        assert "This invitation was shown already" in Shown(again).text
        assert not _LINK.search(again.get_data(as_text=True))
    assert office.page(page).text.count("Who follows the link first") == 1
    assert "This form is not whole" in Shown(send(office.browser, form, invite, **fields | {"form_token": ""})).text
    assert send(office.browser, office.browser.get(page), invite, **fields).status_code == 200


def test_the_owner_hands_the_organization_over_by_typing_its_name(office: Office, world: World) -> None:
    bob = world.member(office.org, Role.MEMBER)
    path = f"{office.home}members/{bob.id}/hand-over"
    refused = send(office.browser, office.browser.get(path), path, confirm="acm")
    assert refused.status_code == 422
    assert "That is neither its name nor its id. Nothing was changed." in Shown(refused).text
    assert role_of(office, bob.id) is Role.MEMBER
    done = send(office.browser, office.browser.get(path), path, confirm=office.org.name)
    assert done.headers["Location"] == f"{office.home}members"
    assert f"{bob.email} owns acme from now on, and you are an admin." in office.page(f"{office.home}members").text
    assert (role_of(office, bob.id), role_of(office, office.owner.id)) == (Role.OWNER, Role.ADMIN)


def test_a_page_of_members_costs_the_same_for_few_and_for_many(office: Office, world: World) -> None:
    page = f"{office.home}members"
    send(office.browser, office.browser.get(page), f"{page}/invite", email="x@example.com", role="member", days="7")
    with statements(db.engine) as few:
        office.page(page)
    people = [world.user() for _ in range(55)]
    with writing(db.session):
        for one in people:
            add_member(db.session, world.clock, SYSTEM, office.org.id, one.id, Role.MEMBER)
    with statements(db.engine) as many:
        shown = office.page(page)
    assert len(many) == len(few)
    following = next(link for link in shown.links() if "cursor=" in link)
    both = shown.text + office.page(following).text
    assert all(one.email in both for one in people)
