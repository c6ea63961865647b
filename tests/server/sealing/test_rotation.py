"""What is sealed in the database: bound to its row, checked, and given new keys without ever being lost."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, NullPool, create_engine, select, text
from sqlalchemy.orm import Session

from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server import destinations as service
from mushu.server import sealing
from mushu.server.audit import SYSTEM, AuditEvent
from mushu.server.config import Settings
from mushu.server.db import own_session, prepare_engine, reading, writing
from mushu.server.destinations import DestinationRequest, DestinationRow
from mushu.server.environments import set_environment
from mushu.server.errors import SealingFailed
from mushu.server.orgs.service import create_org
from mushu.server.paging import Window
from mushu.server.sealing.ring import SealingKeys, key_id_of
from mushu.server.users.service import create_user
from mushu.testing.leaks import traces
from mushu.testing.processes import FINISHED, kill_at, steps_of
from tests.conftest import TurnableClock
from tests.long import times

pytestmark = [pytest.mark.unmeasured, pytest.mark.database]

TOKENS = ("hunter1", "hunter2", "hunter3")


@dataclass
class Vault:
    """Three destinations with a token each, and the keys that seal them."""

    engine: Engine
    keys: SealingKeys
    clock: TurnableClock
    org_id: str = ""

    def session(self) -> Session:
        session = own_session(self.engine)
        set_environment(session, Environment.LIVE)
        return session

    def fill(self) -> None:
        with self.session() as session, writing(session):
            owner = create_user(session, self.clock, SYSTEM, "ada@example.com")
            self.org_id = create_org(session, self.clock, SYSTEM, "acme", owner.id).id
        for token in TOKENS:
            self.add(token)

    def add(self, token: str) -> DestinationRow:
        with self.session() as session, writing(session):
            settings = {"token": Secret(token)}
            place = DestinationRequest(self.org_id, f"at-{token[-1]}", f"env:/srv/{token[-1]}#KEY", settings)
            return service.add(session, self.clock, SYSTEM, self.keys, place)

    def rotate(self) -> int:
        with self.session() as session:
            return sealing.replace_keys(session, self.clock, SYSTEM, self.keys)

    def tokens(self) -> list[str]:
        """Return all that is sealed, in clear."""
        with self.session() as session, reading(session):
            found = service.list_destinations(session, self.org_id, Window()).rows
            return [service.settings_of(one, self.keys)["token"] for one in found]

    def sealed(self) -> list[str]:
        with self.session() as session, reading(session):
            return [value.sealed for value in sealing.sealed_values(session)]

    def faults(self) -> list[str]:
        with self.session() as session, reading(session):
            return sealing.faults(session, self.keys)

    def execute(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement))


@pytest.fixture
def vault(settings: Settings, clock: TurnableClock) -> Iterator[Vault]:
    engine = create_engine(settings.sqlalchemy_url, poolclass=NullPool)
    prepare_engine(engine)
    settings.instance_path.mkdir(exist_ok=True)
    vault = Vault(engine, SealingKeys(settings.sealing_keys_path), clock)
    vault.fill()
    yield vault
    engine.dispose()


def test_the_database_alone_gives_nothing_away(vault: Vault, settings: Settings) -> None:
    assert vault.tokens() == [*TOKENS]
    stored = b"".join(path.read_bytes() for path in settings.instance_path.glob("mushu.sqlite3*"))
    stored += json.dumps(vault.sealed()).encode()
    assert not [token for token in TOKENS if token.encode() in stored]


def test_every_column_that_is_called_sealed_is_marked(vault: Vault) -> None:
    marked = {f"{column.table.name}.{column.name}" for column in sealing.sealed_columns()}
    called = {
        f"{table.name}.{column.name}"
        for table in DestinationRow.metadata.sorted_tables
        for column in table.columns
        if column.name.startswith("sealed_")
    }
    assert marked == called == {"destinations.sealed_settings", "tenants.sealed_private_key"}


def test_two_rows_cannot_exchange_what_is_sealed_in_them(vault: Vault) -> None:
    first, second = vault.sealed()[:2]
    vault.execute("UPDATE destinations SET sealed_settings = 'x' || sealed_settings")  # as SQLite cannot swap at once
    vault.execute(f"UPDATE destinations SET sealed_settings = '{second}' WHERE sealed_settings = 'x{first}'")
    vault.execute(f"UPDATE destinations SET sealed_settings = '{first}' WHERE sealed_settings = 'x{second}'")
    vault.execute(
        "UPDATE destinations SET sealed_settings = substr(sealed_settings, 2) WHERE sealed_settings LIKE 'x%'"
    )
    with pytest.raises(SealingFailed, match="another row") as caught:
        vault.tokens()
    assert not [text for text in traces(caught.value) if "hunter" in text]
    assert len(vault.faults()) == 2


@pytest.mark.parametrize("damage", ["is missing", "is damaged"])
def test_no_new_keys_are_made_while_something_is_sealed_with_lost_ones(vault: Vault, damage: str) -> None:
    text = vault.keys.path.read_text()[:20]
    vault.keys.path.unlink()
    if damage == "is damaged":
        vault.keys.path.write_text(text)
    with pytest.raises(SealingFailed, match=damage):
        vault.add("hunter4")
    with pytest.raises(SealingFailed, match=damage):
        vault.rotate()
    (fault,) = vault.faults()
    assert damage in fault, "one sentence about the file, not one for each row"
    assert vault.keys.exist() == (damage == "is damaged")


def test_a_ring_that_lost_its_older_keys_names_the_one_that_is_missing(vault: Vault) -> None:
    lost = vault.keys.load()
    vault.keys.replace(lost.with_new_key().newest_only())
    assert vault.add("hunter4").name == "at-4", "new ones can be sealed"
    assert len(vault.faults()) == 3
    assert all(lost.keys[0].id in fault for fault in vault.faults())


class TestRotation:
    def test_everything_gets_the_new_key_also_in_removed_destinations_and_the_old_one_goes(self, vault: Vault) -> None:
        before, old = vault.sealed(), vault.keys.load().keys[0].id
        assert vault.rotate() == 3
        (key,) = vault.keys.load().keys
        assert key.id != old
        assert {key_id_of(sealed) for sealed in vault.sealed()} == {key.id}
        assert not {*before} & {*vault.sealed()}
        assert vault.tokens() == [*TOKENS]
        with vault.session() as session, reading(session):
            event = session.scalars(select(AuditEvent).where(AuditEvent.action == "sealing.rotated")).one()
        assert (event.target_id, event.details) == (key.id, {"values": 3})
        with vault.session() as session, writing(session):
            service.remove(session, vault.clock, SYSTEM, service.get(session, vault.org_id, "at-1"))
        assert vault.rotate() == 3
        assert vault.faults() == []

    def test_something_that_does_not_open_stops_it_before_anything_changes(self, vault: Vault) -> None:
        vault.execute("UPDATE destinations SET sealed_settings = '1.x.y' WHERE name = 'at-2'")
        ring, sealed = vault.keys.path.read_bytes(), vault.sealed()
        with pytest.raises(SealingFailed, match=r"Nothing was changed\."):
            vault.rotate()
        assert (vault.keys.path.read_bytes(), vault.sealed()) == (ring, sealed)

    def test_one_that_began_to_be_added_before_is_not_lost(self, vault: Vault) -> None:
        """Whoever read the keys first is waited for, or sealed with a key that stays."""
        with ThreadPoolExecutor(1) as pool:
            with vault.session() as session, writing(session):
                place = DestinationRequest(vault.org_id, "late", "env:/srv/late#KEY", {"token": Secret("hunter9")})
                service.add(session, vault.clock, SYSTEM, vault.keys, place)
                rotation = pool.submit(vault.rotate)
                with pytest.raises(TimeoutError):
                    rotation.result(timeout=0.5)
            assert rotation.result() == 4
        assert vault.tokens() == [*TOKENS, "hunter9"]
        assert len(vault.keys.load().keys) == 1

    @pytest.mark.sqlite
    def test_killed_at_any_step_everything_opens_and_the_next_one_succeeds(self, vault: Vault, tmp_path: Path) -> None:
        instance, scene = vault.keys.path.parent, tmp_path / "scene"
        shutil.copytree(instance, scene)
        steps = steps_of(vault.rotate, ("mushu",))
        outcomes = set()
        for number in steps[:: times(4, 1)]:
            shutil.rmtree(instance)
            shutil.copytree(scene, instance)
            assert kill_at(number, vault.rotate, ("mushu",)) in (-9, FINISHED)
            assert vault.tokens() == [*TOKENS]
            assert vault.faults() == []
            outcomes.add((len(vault.keys.load().keys), len({key_id_of(sealed) for sealed in vault.sealed()})))
            vault.rotate()
            assert vault.tokens() == [*TOKENS]
            assert len(vault.keys.load().keys) == 1
            assert sorted(path.name for path in instance.glob("*sealing_keys*")) == [
                "sealing_keys",
                "sealing_keys.lock",
            ]
        newest_alone = (1, 1)
        assert outcomes == {newest_alone, (2, 1)}, "before, between and after the steps"
