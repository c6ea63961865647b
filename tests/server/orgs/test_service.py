import pytest

from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.errors import AmbiguousName, Invalid, OrgNotFound
from mushu.server.orgs.members import find_member, list_members
from mushu.server.orgs.service import (
    create_org,
    delete_org,
    find_org,
    get_org,
    list_orgs,
    list_orgs_of_user,
    rename_org,
    resolve_org,
)
from mushu.server.paging import Window
from tests.conftest import TurnableClock
from tests.server.conftest import World

pytestmark = pytest.mark.database


def test_who_creates_an_organization_for_someone_makes_them_its_one_owner(world: World) -> None:
    owner = world.user()
    org = world.org(owner)
    with reading(db.session):
        (member,) = list_members(db.session, org.id, Window()).rows
    assert (member.user_id, member.is_owner, org.created_by) == (owner.id, True, owner.id)


def test_an_organization_is_found_by_id_or_exact_name(world: World) -> None:
    org = world.org(name="acme")
    with reading(db.session):
        assert resolve_org(db.session, org.id).id == resolve_org(db.session, "acme").id == org.id
        for name in ("Acme", "acm", "acme%", ""):
            with pytest.raises(OrgNotFound):
                resolve_org(db.session, name)


def test_a_name_that_two_have_is_refused_with_both_ids(world: World) -> None:
    first, second = world.org(name="acme"), world.org(name="acme")
    with reading(db.session), pytest.raises(AmbiguousName) as caught:
        resolve_org(db.session, "acme")
    assert first.id in caught.value.detail
    assert second.id in caught.value.detail


def test_a_deleted_organization_is_found_by_nobody_and_its_name_is_free(world: World) -> None:
    owner = world.user()
    org = world.org(owner, "acme")
    with writing(db.session):
        delete_org(db.session, world.clock, SYSTEM, get_org(db.session, org.id))
    successor = world.org(owner, "acme")
    with reading(db.session):
        assert find_org(db.session, org.id) is None
        assert find_member(db.session, org.id, owner.id) is None
        assert resolve_org(db.session, "acme").id == successor.id
        assert [found.id for found in list_orgs(db.session, Window()).rows] == [successor.id]
        assert [found.id for found in list_orgs_of_user(db.session, owner.id, Window()).rows] == [successor.id]
        with pytest.raises(OrgNotFound):
            get_org(db.session, org.id)


def test_a_user_sees_their_own_organizations_oldest_first(world: World, clock: TurnableClock) -> None:
    owner = world.user()
    world.org()
    mine = []
    for name in ("b", "a"):
        clock.turn(seconds=1)
        mine.append(world.org(owner, name).id)
    with reading(db.session):
        assert [org.id for org in list_orgs_of_user(db.session, owner.id, Window()).rows] == mine


@pytest.mark.parametrize("name", ["", " ", "x" * 201, "a\tb"])
def test_a_name_must_be_printable_and_of_calm_length(world: World, name: str) -> None:
    owner, org = world.user(), world.org()
    with pytest.raises(Invalid), writing(db.session):
        create_org(db.session, world.clock, SYSTEM, name, owner.id)
    with pytest.raises(Invalid), writing(db.session):
        rename_org(db.session, world.clock, SYSTEM, org, name)
