"""Pages of a list."""

import pytest

from mushu.environment import Environment
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.environments import within
from mushu.server.errors import Invalid
from mushu.server.keys.selection import Selection
from mushu.server.keys.service import list_keys
from mushu.server.paging import Window
from mushu.server.resources.devices import DeviceRow, Registration, list_devices, register_device
from tests.server.conftest import World
from tests.server.web.endpoints import Stage

pytestmark = pytest.mark.database


@pytest.fixture
def tenant(world: World) -> str:
    tenant_id = Stage(world).tenant
    with within(db.session, Environment.LIVE), writing(db.session):
        for number in range(7):
            registration = Registration(tenant_id=tenant_id, user_id="ada", token=f"{number:08}")
            register_device(db.session, world.clock, registration)
    return tenant_id


def _page(tenant: str, window: Window) -> tuple[list[str], str | None]:
    with within(db.session, Environment.LIVE), reading(db.session):
        found = list_devices(db.session, tenant, None, window)
        return [device.token for device in found.rows], found.next_cursor


def test_together_they_hold_every_row_once_though_all_are_of_one_moment(tenant: str) -> None:
    found: list[str] = []
    cursor: str | None = None
    while True:
        tokens, cursor = _page(tenant, Window(3, cursor))
        found += tokens
        if cursor is None:
            break
    assert sorted(found) == [f"{number:08}" for number in range(7)]


def test_the_last_page_says_so_even_if_it_is_full(tenant: str) -> None:
    assert _page(tenant, Window(7))[1] is None
    assert _page(tenant, Window(6))[1] is not None


def test_a_cursor_stays_good_when_its_row_is_gone(tenant: str) -> None:
    first, cursor = _page(tenant, Window(3))
    with within(db.session, Environment.LIVE), writing(db.session):
        for device in db.session.query(DeviceRow).filter(DeviceRow.token.in_(first)):
            db.session.delete(device)
    assert len(_page(tenant, Window(10, cursor))[0]) == 4


def test_what_several_queries_find_is_one_list(world: World) -> None:
    org = world.org()
    pages: list[list[str]] = []
    made = [world.key(org, environment=Environment(name))[0].id for name in ("live", "test", "test", "live", "live")]
    window = Window(2)
    while window.cursor or not pages:
        with reading(db.session):
            found = list_keys(db.session, org.id, Selection(), window)
        pages.append([key.id for key in found.rows])
        window = Window(2, found.next_cursor)
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(key_id for page in pages for key_id in page) == sorted(made)


@pytest.mark.parametrize("cursor", ["!", "a", "aGVsbG8", "\ud800", "MDAwMS0wMS0wMVQwMDowMDowMCswMDowMCAA"])
def test_what_is_no_cursor_is_refused(tenant: str, cursor: str) -> None:
    with pytest.raises(Invalid):
        _page(tenant, Window(3, cursor))
