"""Naming places: what is refused, what is kept, and what is never shown."""

import json

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from mushu.environment import Environment
from mushu.keyformat import Prefix, generate
from mushu.secret import Secret
from mushu.server import destinations as service
from mushu.server.audit import SYSTEM, Actor, ActorKind, AuditEvent
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.delivery.named_destinations import remove_all_named
from mushu.server.destinations import DestinationRequest, DestinationRow
from mushu.server.environments import set_environment
from mushu.server.errors import DestinationNotFound, Invalid, MushuError, NameTaken, OrgNotFound, SealingFailed
from mushu.server.orgs.service import delete_org, get_org, lock_org
from mushu.server.paging import Window
from mushu.testing.leaks import traces
from tests.server.conftest import World
from tests.server.orgs.racing import overtake, race
from tests.server.web.asking import execute

pytestmark = pytest.mark.database

URI = "env:/srv/app/.env#KEY"
TOKEN = "hunter2"


class Namer:
    """An organization that names places."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.org_id = world.org().id
        set_environment(db.session, Environment.LIVE)

    def place(self, name: str = "backend", uri: str = URI, **settings: str) -> DestinationRequest:
        return DestinationRequest(
            self.org_id, name, uri, {setting: Secret(value) for setting, value in settings.items()}
        )

    def add_in(self, session: Session, place: DestinationRequest) -> DestinationRow:
        return service.add(session, self.world.clock, SYSTEM, self.world.core.sealing_keys, place)

    def add(self, name: str = "backend", uri: str = URI, **settings: str) -> DestinationRow:
        with writing(db.session):
            return service.add(
                db.session, self.world.clock, SYSTEM, self.world.core.sealing_keys, self.place(name, uri, **settings)
            )

    def remove(self, name: str = "backend") -> None:
        with writing(db.session):
            found = service.get(db.session, self.org_id, name)
            service.remove(db.session, self.world.clock, SYSTEM, found)

    def settings(self, name: str = "backend") -> dict[str, str]:
        with reading(db.session):
            return service.settings_of(service.get(db.session, self.org_id, name), self.world.core.sealing_keys)

    def names(self) -> list[str]:
        with reading(db.session):
            return [found.name for found in service.list_destinations(db.session, self.org_id, Window()).rows]


@pytest.fixture
def namer(world: World) -> Namer:
    return Namer(world)


def test_a_place_with_a_name_is_found_by_both(namer: Namer) -> None:
    added = namer.add(token=TOKEN, addr="https://vault.example.com")
    with reading(db.session):
        assert service.get(db.session, namer.org_id, "backend") is added
        assert service.find_at(db.session, URI) is added
    assert namer.settings() == {"token": TOKEN, "addr": "https://vault.example.com"}


def test_one_without_settings_needs_no_keys_to_seal(namer: Namer) -> None:
    namer.add()
    assert namer.settings() == {}
    assert not namer.world.core.sealing_keys.exist()


@pytest.mark.parametrize("name", ["a", "0", "backend-env", "a" * 63, "a-", "9-9"])
def test_names_that_can_be_typed_anywhere_are_taken(namer: Namer, name: str) -> None:
    assert namer.add(name).name == name


@pytest.mark.parametrize(
    "name",
    ["", "-a", "A", "a_b", "a b", "a\n", "a" * 64, "ä", "a/b", "../a", "a\0", "a;b", "%61", "а", "-", "--yes", "a.b"],
)  # fmt: skip
def test_no_other_name_is(namer: Namer, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        namer.add(name)
    assert caught.value.field == "name"
    assert namer.names() == []


@pytest.mark.parametrize(
    "uri",
    [
        f"env:/srv/{generate(Prefix.LIVE_KEY).reveal()}#KEY",
        f"vault:a/b#{generate(Prefix.CLI_TOKEN).reveal().replace('mct_', 'mct%5F')}",
        "store://user:hunter2@host/path",
        "store://:hunter2@host",
        "store://user:hunt@er2@host",
        "store:%2F%2Fuser:hunter2@host",
        "store://hunter2@host",
    ],
    ids=["key", "escaped token", "user and password", "password", "password with an @", "escaped password", "token"],
)
def test_a_credential_in_a_uri_is_refused_and_not_repeated(namer: Namer, uri: str) -> None:
    with pytest.raises(Invalid, match="credential in this URI") as caught:
        namer.add(uri=uri)
    assert "hunter2" not in caught.value.detail
    assert "msk_" not in caught.value.detail
    assert caught.value.field == "uri"


@pytest.mark.parametrize("uri", ["", "env:/" + "a" * 1_000, "env:/a\nb", "env:/\x1b[2J", "env:/a\0"])
def test_a_uri_that_cannot_be_shown_is_refused(namer: Namer, uri: str) -> None:
    with pytest.raises(Invalid):
        namer.add(uri=uri)


@pytest.mark.parametrize("uri", ["store:deploy@host/path", "env:/srv/a@b/.env#KEY", "env:/srv/a:b@c/.env#KEY"])
def test_an_at_sign_in_a_path_is_no_credential(namer: Namer, uri: str) -> None:
    assert namer.add(uri=uri).uri == uri


@pytest.mark.parametrize(("setting", "value"), [("Token", "x"), ("a b", "x"), ("", "x"), ("1", "x"), ("token", ""),
                                                ("token", "a\0b"), ("token", "x" * 65_537)])  # fmt: skip
def test_settings_that_no_plugin_could_use_are_refused(namer: Namer, setting: str, value: str) -> None:
    with pytest.raises(Invalid) as caught:
        namer.add(**{setting: value})
    assert caught.value.field == "settings"


def test_a_certificate_fits(namer: Namer) -> None:
    certificate = "-----BEGIN CERTIFICATE-----\n" + "ü" * 5_000 + "\n"
    namer.add(ca=certificate)
    assert namer.settings()["ca"] == certificate


class TestOnePlaceOneName:
    def test_a_name_stands_for_one_place(self, namer: Namer) -> None:
        namer.add()
        with pytest.raises(NameTaken, match=f"stands for {URI}"):
            namer.add(uri="env:/srv/other#KEY")

    def test_but_in_another_organization_it_may_stand_for_another(self, namer: Namer, world: World) -> None:
        namer.add()
        assert Namer(world).add(uri="env:/srv/other#KEY").name == "backend"

    def test_a_place_has_one_name(self, namer: Namer) -> None:
        namer.add()
        with pytest.raises(NameTaken, match="backend"):
            namer.add("other")

    def test_a_place_of_another_organization_cannot_be_had(self, namer: Namer, world: World) -> None:
        namer.add()
        other = Namer(world)
        with pytest.raises(NameTaken, match="belongs to one organization"):
            other.add("mine")
        assert other.names() == []

    def test_once_it_is_removed_both_are_free(self, namer: Namer, world: World) -> None:
        first = namer.add(token=TOKEN).id
        namer.remove()
        assert namer.names() == []
        with reading(db.session):
            assert service.find_at(db.session, URI) is None
        with pytest.raises(DestinationNotFound, match="backend"):
            namer.remove()
        other = Namer(world)
        assert other.add().id != first
        assert other.settings() == {}, "and it inherits nothing"

    @pytest.mark.parametrize("attempt", range(3))
    def test_of_several_at_once_one_has_it(self, namer: Namer, world: World, attempt: int) -> None:
        rival = Namer(world)
        places = [namer.place(), namer.place("other"), rival.place(), rival.place("other", token=TOKEN)]
        outcomes = race(*(lambda session, place=place: namer.add_in(session, place) for place in places))
        assert sorted(outcomes, key=str) == [NameTaken, NameTaken, NameTaken, None]

    def test_one_that_comes_too_late_is_told_so(self, namer: Namer) -> None:
        """Both look and find it free; the database lets one have it."""
        faster = overtake(lambda s: namer.add_in(s, namer.place()), lambda s: namer.add_in(s, namer.place("late")))
        assert faster is NameTaken
        assert namer.names() == ["backend"]


class TestOrganizations:
    def test_one_that_is_gone_names_nothing(self, namer: Namer, world: World) -> None:
        self._delete(namer)
        with pytest.raises(OrgNotFound):
            namer.add()

    def test_one_that_is_deleted_at_this_moment_keeps_no_place(self, namer: Namer) -> None:
        def delete(session: Session) -> None:
            delete_org(session, namer.world.clock, SYSTEM, lock_org(session, namer.org_id))
            session.flush()
            remove_all_named(session, namer.world.clock, SYSTEM, namer.org_id)

        assert overtake(lambda s: namer.add_in(s, namer.place()), delete) is None
        db.session.expire_all()
        with reading(db.session):
            assert service.find_at(db.session, URI) is None

    def _delete(self, namer: Namer) -> None:
        with writing(db.session):
            delete_org(db.session, namer.world.clock, SYSTEM, get_org(db.session, namer.org_id))


class TestSettings:
    def test_they_are_one_sealed_object_and_nowhere_else(self, namer: Namer) -> None:
        namer.add(token=TOKEN, other="hunter3")
        with db.engine.connect() as connection:
            tables = [str(connection.execute(table.select()).all()) for table in DestinationRow.metadata.sorted_tables]
        assert not [rows for rows in tables if TOKEN in rows or "hunter3" in rows]

    def test_they_are_in_no_event_and_no_statement_that_is_logged(self, namer: Namer) -> None:
        seen: list[str] = []
        event.listen(
            db.engine,
            "before_cursor_execute",
            lambda _c, _u, statement, values, *_: seen.append(f"{statement}{values}"),
        )
        namer.add(token=TOKEN)
        namer.remove()
        assert not [one for one in seen if TOKEN in one]
        with reading(db.session):
            events = db.session.scalars(select(AuditEvent).where(AuditEvent.action.like("destination.%"))).all()
        assert [one.action for one in events] == ["destination.added", "destination.removed"]
        for one in events:
            assert (one.org_id, one.details) == (namer.org_id, {"name": "backend", "uri": URI, "environment": "live"})
            assert one.target_id.startswith("dst_")

    def test_they_show_themselves_in_no_repr_and_in_no_error(self, namer: Namer) -> None:
        added = namer.add(token=TOKEN)
        place = namer.place(token=TOKEN)
        assert not [shown for thing in (added, place) for shown in (repr(thing), str(thing)) if TOKEN in shown]
        for broken in (namer.place("-", token=TOKEN), namer.place(token=TOKEN), namer.place(token=TOKEN + "\0")):
            with pytest.raises(MushuError) as caught, writing(db.session):
                namer.add_in(db.session(), broken)
            assert not [text for text in traces(caught.value) if TOKEN in text.replace('TOKEN = "hunter2"', "")]

    def test_they_are_replaced_as_a_whole(self, namer: Namer) -> None:
        namer.add(token=TOKEN, addr="there")
        self._change(namer, token="hunter3")
        assert namer.settings() == {"token": "hunter3"}
        self._change(namer)
        assert namer.settings() == {}

    def test_and_that_is_in_the_audit_trail_without_them(self, namer: Namer) -> None:
        namer.add(token=TOKEN)
        self._change(namer, token="hunter3")
        with reading(db.session):
            changed = select(AuditEvent).where(AuditEvent.action == "destination.settings_changed")
            found = db.session.scalars(changed).one()
        assert found.details == {"name": "backend", "uri": URI, "environment": "live"}

    def test_those_that_do_not_open_any_more_can_be_replaced(self, namer: Namer) -> None:
        namer.add(token=TOKEN)
        execute("UPDATE destinations SET sealed_settings = '1.x.y'")
        db.session.expire_all()
        with pytest.raises(SealingFailed):
            namer.settings()
        self._change(namer, token="hunter3")
        assert namer.settings() == {"token": "hunter3"}

    def test_an_object_moved_to_a_place_of_an_attacker_does_not_open_there(self, namer: Namer, world: World) -> None:
        namer.add(token=TOKEN)
        mallory = Namer(world)
        mallory.add(uri="env:/home/mallory/.env#KEY", token="mine")
        stolen = "(SELECT sealed_settings FROM destinations WHERE uri = :uri)"
        execute(f"UPDATE destinations SET sealed_settings = {stolen} WHERE org_id = :org", uri=URI, org=mallory.org_id)
        db.session.expire_all()
        with pytest.raises(SealingFailed, match="another row"):
            mallory.settings()
        assert namer.settings() == {"token": TOKEN}

    def _change(self, namer: Namer, **settings: str) -> None:
        with writing(db.session):
            found = service.get(db.session, namer.org_id, "backend")
            new = {setting: Secret(value) for setting, value in settings.items()}
            service.change_settings(db.session, namer.world.clock, SYSTEM, namer.world.core.sealing_keys, found, new)


def test_who_named_it_is_kept(world: World) -> None:
    namer = Namer(world)
    with writing(db.session):
        actor = Actor(ActorKind.OPERATOR, "root")
        keys = world.core.sealing_keys
        assert service.add(db.session, world.clock, actor, keys, namer.place()).created_by == "operator root"


def test_they_are_listed_by_name_and_those_of_others_are_not(namer: Namer, world: World) -> None:
    for name in ("b", "a", "c"):
        namer.add(name, f"env:/srv/{name}#KEY")
    Namer(world).add("d", "env:/srv/d#KEY")
    assert namer.names() == ["a", "b", "c"]


def test_settings_are_json_that_another_version_can_read(namer: Namer) -> None:
    added = namer.add(token=TOKEN)
    ring = namer.world.core.sealing_keys.load()
    context = f"destinations.sealed_settings {added.id}"
    assert json.loads(ring.unseal(added.sealed_settings or "", context)) == {"token": TOKEN}
