"""The page behind an invitation."""

import pytest

from mushu.server.audit import SYSTEM, Actor, ActorKind
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.orgs.invitations import InvitationTerms, invite_by_email, invite_by_link
from mushu.server.orgs.members import find_member, get_member, remove_member, set_role
from mushu.server.orgs.models import Organization, Role
from mushu.server.users.models import User
from tests.server.conftest import World
from tests.server.web.pages.browser import Browser


@pytest.fixture
def org(world: World) -> Organization:
    return world.org(name="acme <b>")


def invite(world: World, org: Organization, email: str | None = None, by: User | None = None) -> str:
    actor = Actor(ActorKind.USER, by.id) if by else SYSTEM
    with writing(db.session):
        if email is not None:
            _, token = invite_by_email(db.session, world.clock, actor, org, InvitationTerms("admin"), email)
        else:
            _, token = invite_by_link(db.session, world.clock, actor, org, InvitationTerms("admin"))
    return f"/invites/{token.reveal()}"


def role(org: Organization, user: User) -> str | None:
    with reading(db.session):
        member = find_member(db.session, org.id, user.id)
    return member.role if member else None


def test_joining(browser: Browser, world: World, org: Organization, user: User) -> None:
    path = invite(world, org, user.email)
    page = browser.get(path).get_data(as_text=True)
    assert "Join acme &lt;b&gt;?" in page
    assert role(org, user) is None, "looking is not joining"
    assert "You joined" in browser.submit(path, decision="join").get_data(as_text=True)
    assert role(org, user) == "admin"
    assert browser.get(path).status_code == 404


def test_declining(browser: Browser, world: World, org: Organization, user: User) -> None:
    path = invite(world, org)
    browser.get(path)
    assert "Declined" in browser.submit(path, decision="decline").get_data(as_text=True)
    assert role(org, user) is None
    assert browser.get(path).status_code == 404


def test_an_invitation_for_someone_else_is_not_there(browser: Browser, world: World, org: Organization) -> None:
    assert browser.get(invite(world, org, "other@example.com")).status_code == 404


def test_a_member_is_told_so_and_a_form_without_its_token_is_refused(
    browser: Browser, world: World, org: Organization, user: User
) -> None:
    path = invite(world, org)
    assert browser.client.post(path, data={"decision": "join"}).status_code == 400
    assert role(org, user) is None
    browser.get(path)
    browser.submit(path, decision="join")
    second = invite(world, org)
    browser.get(second)
    assert browser.submit(second, decision="join").status_code == 409


def test_an_answer_that_comes_too_late_is_told_so(browser: Browser, world: World, org: Organization) -> None:
    path = invite(world, org)
    browser.get(path)
    browser.submit(path, decision="decline")
    browser.get("/account")
    assert browser.submit(path, decision="join").status_code == 404


@pytest.mark.parametrize("end", ["removed", "demoted"])
def test_what_an_admin_offered_ends_with_their_role(
    browser: Browser, world: World, org: Organization, end: str
) -> None:
    admin = world.member(org, Role.ADMIN)
    path = invite(world, org, by=admin)
    assert browser.get(path).status_code == 200
    with writing(db.session):
        member = get_member(db.session, org.id, admin.id)
        if end == "removed":
            remove_member(db.session, world.clock, SYSTEM, member)
        else:
            set_role(db.session, world.clock, SYSTEM, member, Role.MEMBER)
    assert browser.get(path).status_code == 404
