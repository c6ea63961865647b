"""Deleted means deleted, also after an old backup was restored (design, promise 4)."""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from mushu import batching
from mushu.destination import Destination
from mushu.server.audit import SYSTEM
from mushu.server.config import Settings
from mushu.server.db import own_session, prepare_engine, reading, writing
from mushu.server.delivery.reconciler import Finding
from mushu.server.keys import revocation_journal
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import get_key
from mushu.server.lifecycle import delete as verb
from mushu.server.lifecycle.context import Context
from mushu.server.lifecycle.delete import follow_journal, revoke_key
from mushu.server.orgs.service import create_org
from mushu.server.users.service import create_user
from tests.conftest import TurnableClock
from tests.server.verbs import issue_key


def _nowhere(uri: str) -> Destination:
    raise AssertionError(f"the journal opened {uri}")


@dataclass
class House:
    """A database with a journal beside it."""

    database: Path
    journal: Path
    clock: TurnableClock
    org_id: str = ""

    def __post_init__(self) -> None:
        self.open()
        with writing(self.session):
            owner = create_user(self.session, self.clock, SYSTEM, "alice@example.com")
            self.org_id = create_org(self.session, self.clock, SYSTEM, "acme", owner.id).id

    def open(self) -> Session:
        self.engine = create_engine(f"sqlite:///{self.database}")
        prepare_engine(self.engine, self.journal)
        self.session = own_session(self.engine)
        return self.session

    def close(self) -> None:
        self.session.close()
        self.engine.dispose()

    def key(self) -> ApiKey:
        with writing(self.session):
            return issue_key(self.session, self.clock, SYSTEM, KeyRequest(org_id=self.org_id, name="k"))[0]

    def delete(self, key_id: str) -> None:
        with writing(self.session):
            revoke_key(self.session, self.clock, SYSTEM, key_id)

    def state(self, key_id: str) -> str:
        with reading(self.session):
            return get_key(self.session, key_id).stored_state

    def follow(self) -> list[Finding]:
        return follow_journal(Context(self.session, self.clock, SYSTEM, _nowhere, timedelta()))

    def back_up(self, to: Path) -> None:
        """Copy it as an operator does, with SQLite's own means."""
        with sqlite3.connect(self.database) as source, sqlite3.connect(to) as target:
            source.backup(target)
        source.close()
        target.close()

    def restore(self, backup: Path) -> None:
        self.close()
        for left in self.database.parent.glob(f"{self.database.name}*"):
            left.unlink()
        shutil.copy(backup, self.database)
        self.open()


@pytest.fixture
def house(settings: Settings, clock: TurnableClock, tmp_path: Path) -> Iterator[House]:
    house = House(settings.instance_path / "mushu.sqlite3", tmp_path / "revoked-keys", clock)
    yield house
    house.close()


pytestmark = pytest.mark.sqlite


def digests(house: House) -> list[str]:
    """Return what the journal says, after the line that names it."""
    head, *lines = house.journal.read_text().splitlines()
    assert re.fullmatch("#[0-9a-f]{16}", head)
    return lines


def test_it_works(house: House, tmp_path: Path) -> None:
    gone, stays = house.key(), house.key()
    house.back_up(tmp_path / "backup")
    house.delete(gone.id)
    house.restore(tmp_path / "backup")
    assert house.state(gone.id) == "active"
    assert [(found.key_id, str(found.verdict)) for found in house.follow()] == [(gone.id, "revoked")]
    assert (house.state(gone.id), house.state(stays.id)) == ("revoked", "active")
    assert house.follow() == []


def test_a_database_that_is_up_to_date_is_not_touched(house: House) -> None:
    for _ in range(3):
        house.delete(house.key().id)
    with reading(house.session):
        assert not revocation_journal.is_behind(house.session)
    assert house.follow() == []


def test_the_journal_is_private_and_holds_digests_only(house: House) -> None:
    key = house.key()
    house.delete(key.id)
    assert digests(house) == [key.digest]
    assert house.journal.stat().st_mode & 0o777 == 0o600


def test_it_says_so_before_the_deletion_is_committed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two, a key is revoked that was to be; the other way round, one would come back."""
    key = house.key()

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(revocation_journal, "_remember", die)
    key_id, digest = key.id, key.digest
    with pytest.raises(Killed):
        house.delete(key_id)
    monkeypatch.undo()
    assert digests(house) == [digest]
    assert house.state(key_id) == "active"
    assert [found.key_id for found in house.follow()] == [key_id]


def test_a_deletion_right_after_the_old_backup_came_hides_no_earlier_one(house: House, tmp_path: Path) -> None:
    early, late = house.key(), house.key()
    house.back_up(tmp_path / "backup")
    house.delete(early.id)
    house.restore(tmp_path / "backup")
    house.delete(late.id)
    assert house.state(early.id) == "active"
    assert [found.key_id for found in house.follow()] == [early.id]
    assert house.follow() == []


def test_what_was_rolled_back_is_not_in_it(house: House) -> None:
    kept, gone = house.key(), house.key()
    gone_id, digest = gone.id, gone.digest
    with pytest.raises(RuntimeError), writing(house.session):
        revoke_key(house.session, house.clock, SYSTEM, kept.id)
        raise RuntimeError
    house.delete(gone_id)
    assert digests(house) == [digest]


def test_many_deletions_are_written_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, written = [house.key() for _ in range(5)], []
    monkeypatch.setattr(os, "fsync", lambda descriptor: written.append(descriptor))
    with writing(house.session):
        for key in keys:
            revoke_key(house.session, house.clock, SYSTEM, key.id)
    assert len(digests(house)) == 5
    assert len(written) == 3  # the file and its folder, since it is new; then what is in it


def test_a_line_that_was_cut_off_spoils_no_other(house: House, tmp_path: Path) -> None:
    first, second = house.key(), house.key()
    house.back_up(tmp_path / "backup")
    house.delete(first.id)
    with house.journal.open("ab") as file:
        file.write(b"a" * 30)
    house.delete(second.id)
    house.restore(tmp_path / "backup")
    assert {found.key_id for found in house.follow()} == {first.id, second.id}


@pytest.mark.parametrize("junk", [b"", b"\0" * 200, b"\n\n\n", b"../../etc/passwd\n", b"A" * 64 + b"\n", b"\xff" * 65])
def test_junk_in_it_revokes_nothing(house: House, junk: bytes) -> None:
    key = house.key()
    house.journal.write_bytes(junk)
    assert house.follow() == []
    assert house.state(key.id) == "active"
    house.delete(key.id)
    assert key.digest.encode() in house.journal.read_bytes()


def test_a_key_whose_journal_cannot_be_written_dies_all_the_same(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    key = house.key()
    house.journal.mkdir()
    house.delete(key.id)
    assert house.state(key.id) == "revoked"
    assert "journal of revoked keys cannot be written" in caplog.text


def test_a_link_in_its_place_is_not_followed(house: House, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("precious")
    house.journal.symlink_to(tmp_path / "theirs")
    house.delete(house.key().id)
    assert (tmp_path / "theirs").read_text() == "precious"


def test_a_thousand_lines_and_keys_it_never_knew(house: House, tmp_path: Path) -> None:
    key = house.key()
    house.back_up(tmp_path / "backup")
    house.delete(key.id)
    with house.journal.open("ab") as file:
        file.writelines(os.urandom(32).hex().encode() + b"\n" for _ in range(1_200))
    house.restore(tmp_path / "backup")
    assert [found.key_id for found in house.follow()] == [key.id]
    assert house.follow() == []


@pytest.mark.fault
def test_very_many_are_revoked_some_at_a_time(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "BATCH", 2)
    monkeypatch.setattr(revocation_journal, "BATCH", 2)
    keys = [house.key().id for _ in range(5)]
    house.back_up(tmp_path / "backup")
    for key_id in keys:
        house.delete(key_id)
    house.restore(tmp_path / "backup")
    left = iter([1, 1, 1, 0])  # killed at the fourth
    with monkeypatch.context() as killed, pytest.raises(ZeroDivisionError):
        killed.setattr(verb, "revoke_key", lambda *given: 1 // next(left) and revoke_key(*given))
        house.follow()
    assert [house.state(key_id) for key_id in keys] == ["revoked"] * 3 + ["active"] * 2
    assert house.state(house.key().id) == "active", "nobody holds the lock of a writer"
    assert {found.key_id for found in house.follow()} == {*keys[3:]}
    assert house.follow() == []


def test_a_journal_that_was_lost_and_begun_anew_is_followed_from_its_beginning(house: House, tmp_path: Path) -> None:
    """And so is that of another machine on the same database: what is remembered belongs to one file."""
    for _ in range(3):
        house.delete(house.key().id)
    key = house.key()
    house.back_up(tmp_path / "backup")
    house.journal.unlink()
    house.delete(key.id)
    house.restore(tmp_path / "backup")
    assert [found.key_id for found in house.follow()] == [key.id]


def test_a_deletion_of_one_process_and_the_backup_of_another(house: House, tmp_path: Path) -> None:
    """Positions are remembered in the database: one that was restored twice follows twice."""
    key = house.key()
    house.back_up(tmp_path / "backup")
    house.delete(key.id)
    for _ in range(2):
        house.restore(tmp_path / "backup")
        assert [found.key_id for found in house.follow()] == [key.id]
        assert house.state(key.id) == "revoked"
