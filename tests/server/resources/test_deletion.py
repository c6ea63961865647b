"""A new resource takes part in what happens to organizations and tenants, in one transaction and at every door."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from mushu.environment import Environment
from mushu.server.audit import SYSTEM, Actor
from mushu.server.clock import Clock
from mushu.server.commands.orgs import orgs
from mushu.server.config import Settings
from mushu.server.core import Core, db
from mushu.server.db import AnySession, reading, writing
from mushu.server.environments import within
from mushu.server.operation import housekeeping
from mushu.server.orgs.service import find_org
from mushu.server.resources import RESOURCES, Resources, ResourceType
from mushu.server.resources.devices import Registration, find_device, register_device
from mushu.server.resources.media.service import Announcement, announce, find_media
from mushu.server.resources.tenants import TenantRequest, create_tenant, find_tenant
from tests.server.conftest import World, bearer

pytestmark = pytest.mark.database

TOKEN = "0123456789abcdef"


@dataclass
class Notebook:
    """A resource that notes what it is asked, and fails where `breaks` says so."""

    breaks: bool = False
    noted: list[str] = field(default_factory=list)

    def on_org_deleted(self, session: AnySession, _clock: Clock, _actor: Actor, org_id: str) -> None:
        self._note(session, org_id)

    def on_tenant_deleted(self, session: AnySession, _clock: Clock, tenant_id: str) -> None:
        self._note(session, tenant_id)

    def clean(self, _session: AnySession, _clock: Clock, _settings: Settings) -> None:
        self.noted.append("cleaned")

    def _note(self, session: AnySession, deleted_id: str) -> None:
        session.connection()  # fails outside of a transaction
        self.noted.append(deleted_id)
        if self.breaks:
            raise RuntimeError("the notebook is full")


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def core(core: Core, notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> Core:
    """The core of the application, and those that commands and housekeeping make, with one more resource."""
    own = ResourceType(
        name="notebooks",
        on_org_deleted=notebook.on_org_deleted,
        on_tenant_deleted=notebook.on_tenant_deleted,
        housekeeping=notebook.clean,
    )
    resources = Resources((*RESOURCES.types, own))
    monkeypatch.setattr("mushu.server.core.Core", partial(Core, resources=resources))
    return replace(core, resources=resources)


@dataclass(frozen=True)
class Place:
    """An organization with one of everything, seen from outside."""

    world: World
    client: FlaskClient
    org_id: str
    headers: dict[str, str]
    tenant_id: str
    media_id: str

    def left(self) -> list[str]:
        with within(db.session, Environment.LIVE), reading(db.session):
            there = {
                "org": find_org(db.session, self.org_id),
                "tenant": find_tenant(db.session, self.tenant_id),
                "device": find_device(db.session, self.tenant_id, TOKEN),
                "media": find_media(db.session, self.media_id),
            }
        return [name for name, row in there.items() if row is not None]

    def delete_over_http(self) -> bool:
        return self.client.delete(f"/orgs/{self.org_id}", headers=self.headers).status_code == 200

    def delete_by_command(self) -> bool:
        return CliRunner().invoke(orgs, ["delete", self.org_id, "--yes"]).exit_code == 0

    def delete_tenant(self) -> bool:
        return self.client.delete(f"/tenants/{self.tenant_id}", headers=self.headers).status_code == 200


@pytest.fixture
def place(world: World, client: FlaskClient, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("MUSHU_INSTANCE_PATH", str(settings.instance_path))
    monkeypatch.setenv("MUSHU_DATABASE_URL", settings.database_url)
    owner = world.user()
    org = world.org(owner)
    asked = Announcement(org_id=org.id, tenant_id=None, filename="a.txt", content_type="text/plain", size_bytes=1)
    with within(db.session, Environment.LIVE), writing(db.session):
        request = TenantRequest(org_id=org.id, bundle_id="com.example.shop")
        tenant = create_tenant(db.session, world.clock, SYSTEM, world.core.sealing_keys, request)
        register_device(db.session, world.clock, Registration(tenant_id=tenant.id, user_id="bob", token=TOKEN))
        media = announce(db.session, world.clock, SYSTEM, asked, 1)
    return Place(world, client, org.id, bearer(world.token(owner)), tenant.id, media.id)


DOORS = pytest.mark.parametrize("delete", [Place.delete_over_http, Place.delete_by_command])


@DOORS
def test_an_organization_goes_with_all_that_any_resource_holds_of_it(
    place: Place, notebook: Notebook, delete: Callable[[Place], bool]
) -> None:
    assert place.left() == ["org", "tenant", "device", "media"]
    assert delete(place)
    assert place.left() == []
    assert notebook.noted == [place.org_id]


@DOORS
def test_where_one_resource_fails_nothing_of_an_organization_goes(
    place: Place, notebook: Notebook, delete: Callable[[Place], bool]
) -> None:
    notebook.breaks = True
    assert not delete(place)
    assert notebook.noted == [place.org_id]
    assert place.left() == ["org", "tenant", "device", "media"]


def test_a_tenant_goes_with_all_that_any_resource_holds_of_it_or_not_at_all(place: Place, notebook: Notebook) -> None:
    notebook.breaks = True
    assert not place.delete_tenant()
    assert place.left() == ["org", "tenant", "device", "media"]
    notebook.breaks = False
    assert place.delete_tenant()
    assert place.left() == ["org", "media"]
    assert notebook.noted == [place.tenant_id] * 2


@pytest.mark.usefixtures("world")
def test_housekeeping_does_what_a_resource_registers(settings: Settings, notebook: Notebook) -> None:
    housekeeping.tick(settings)
    assert notebook.noted == ["cleaned"]
