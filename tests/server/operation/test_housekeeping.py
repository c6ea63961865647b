"""What the process beside the workers does, and that it ends with them however they end."""

import logging
import os
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine, func
from sqlalchemy import select as query

from mushu.environment import Environment
from mushu.keyformat import public_id
from mushu.server.audit import SYSTEM
from mushu.server.clock import Clock, utc_now
from mushu.server.config import Settings
from mushu.server.core import context_for, core_context, db, get_core
from mushu.server.db import reading, writing
from mushu.server.delivery.reconciler import Finding
from mushu.server.environments import within
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.retirement import note_first_uses
from mushu.server.keys.rotation import Terms
from mushu.server.keys.service import get_key
from mushu.server.lifecycle.context import Context
from mushu.server.lifecycle.maintain import keep_house
from mushu.server.limit_stores import open_store
from mushu.server.operation import housekeeping
from mushu.server.orgs.service import create_org
from mushu.server.rate_limits import windows_of
from mushu.server.resources.media.service import Announcement, announce
from mushu.server.resources.notifications.models import NotificationRow
from mushu.server.resources.notifications.service import NotificationRequest, record_notification
from mushu.server.resources.tenants import TenantRequest, create_tenant
from mushu.server.users.service import create_user
from tests.server.statements import statements
from tests.server.verbs import issue_to, succeed

pytestmark = pytest.mark.database

#: Seconds after which something that must happen has not; nothing here waits for it to pass.
_LONG: Final = 30

#: Starts housekeeping, says the id of its process, and waits to be killed.
_PARENT: Final = """
import sys, time
from pathlib import Path
from mushu.server.operation import housekeeping
from mushu.server.config import Settings
print(housekeeping.start(Settings(instance_path=Path(sys.argv[1]), housekeeping_seconds=int(sys.argv[2]))), flush=True)
time.sleep(600)
"""


@pytest.fixture
def in_core(settings: Settings) -> Iterator[None]:
    with core_context(lambda: settings):
        yield


def an_org() -> str:
    with writing(db.session):
        owner = create_user(db.session, utc_now, SYSTEM, f"{public_id('ada')}@example.com")
        return create_org(db.session, utc_now, SYSTEM, "acme", owner.id).id


def rotated(folder: Path) -> tuple[ApiKey, ApiKey]:
    """Return a key that works on, and its successor in another file, which was used."""
    context = context_for(SYSTEM)
    old, _ = issue_to(context, KeyRequest(org_id=an_org(), name="backend"), [f"env:{folder}/old.env"])
    new, _ = succeed(context, old.id, Terms(), [f"env:{folder}/new.env"])
    with writing(db.session):
        note_first_uses(db.session, {new.id: utc_now()})
    return old, new


def retiring(folder: Path) -> ApiKey:
    """Return a key whose successor, in another file, was used, and whose time is over."""
    old, _ = rotated(folder)
    with writing(db.session):
        db.session.get_one(ApiKey, old.id).retires_at = utc_now()
    return old


def notified(clock: Clock) -> None:
    """Have a notification in the outbox of a new tenant, asked for when `clock` says."""
    tenant = TenantRequest(org_id=an_org(), bundle_id="com.example.shop")
    with within(db.session, Environment.LIVE), writing(db.session):
        made = create_tenant(db.session, clock, SYSTEM, get_core().sealing_keys, tenant)
        asked = NotificationRequest(tenant_id=made.id, user_ids=["ada"], payload={"aps": {}}, actor=SYSTEM)
        record_notification(db.session, clock, made, asked)


def writers_of_a_tick(settings: Settings) -> int:
    """Return how often housekeeping took SQLite's lock of a writer, on whichever connection."""
    with statements(Engine) as taken:
        housekeeping.tick(settings)
    assert "BEGIN" in taken
    return taken.count("BEGIN IMMEDIATE")


def stored_state(key: ApiKey) -> str:
    with reading(db.session):
        found = get_key(db.session, key.id)
        db.session.refresh(found)
        return found.stored_state


@pytest.mark.usefixtures("in_core")
def test_a_tick_ends_what_is_to_end_and_takes_its_value_away(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = retiring(tmp_path)
    assert "MUSHU_API_KEY" in (tmp_path / "old.env").read_text()
    with caplog.at_level(logging.INFO, "mushu"):
        housekeeping.tick(settings)
    assert stored_state(old) == "revoked"
    assert "MUSHU_API_KEY" not in (tmp_path / "old.env").read_text()
    assert "MUSHU_API_KEY" in (tmp_path / "new.env").read_text()
    (said,) = [record for record in caplog.records if record.name == housekeeping.__name__]
    assert (said.__dict__["key_id"], said.__dict__["result"]) == (old.id, "retired")


@pytest.mark.usefixtures("in_core")
def test_a_tick_that_fails_is_logged_and_the_next_one_runs(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, ticks = retiring(tmp_path), []
    ended, ours = os.pipe()

    def keep_or_fail(context: Context) -> list[Finding]:
        ticks.append(context)
        if len(ticks) < 3:
            raise ZeroDivisionError("a fault of our own")
        os.close(ours)  # no further tick after this one
        return keep_house(context)

    monkeypatch.setattr(housekeeping, "keep_house_by_key", keep_or_fail)
    monkeypatch.setattr(housekeeping, "wait_for", lambda pipes, *_: select.select(pipes, [], [], 0))
    housekeeping.keep(settings, ended)
    os.close(ended)
    assert len(ticks) == 3
    assert stored_state(old) == "revoked"
    failed = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.message for record in failed] == ["housekeeping failed"] * 2


@pytest.mark.sqlite
@pytest.mark.usefixtures("in_core")
def test_a_tick_with_nothing_to_do_takes_no_lock_of_a_writer(settings: Settings, tmp_path: Path) -> None:
    rotated(tmp_path)
    notified(utc_now)
    file = Announcement(org_id=an_org(), tenant_id=None, filename="a.txt", content_type="text/plain", size_bytes=5)
    with within(db.session, Environment.LIVE), writing(db.session):
        announce(db.session, utc_now, SYSTEM, file, max_bytes=5)
    first, second = writers_of_a_tick(settings), writers_of_a_tick(settings)
    assert (first, second) == (0, 0)


@pytest.mark.sqlite
@pytest.mark.usefixtures("in_core")
def test_a_tick_with_something_to_do_takes_it(settings: Settings, tmp_path: Path) -> None:
    old = retiring(tmp_path)
    assert writers_of_a_tick(settings) > 0
    assert stored_state(old) == "revoked"
    assert writers_of_a_tick(settings) == 0


@pytest.mark.usefixtures("in_core")
@pytest.mark.parametrize(("days", "left"), [(90, 1), (100, 2), (0, 2)])
def test_a_tick_deletes_notifications_after_the_days_that_are_set(
    settings: Settings, caplog: pytest.LogCaptureFixture, days: int, left: int
) -> None:
    notified(lambda: utc_now() - timedelta(days=91))
    notified(utc_now)
    with caplog.at_level(logging.INFO, "mushu"):
        housekeeping.tick(replace(settings, keep_notifications_days=days))
    with within(db.session, Environment.LIVE), reading(db.session):
        assert db.session.scalar(query(func.count()).select_from(NotificationRow)) == left
    said = [record.__dict__["deleted"] for record in caplog.records if record.message == "notifications deleted"]
    assert said == [1] * (2 - left)


def test_a_tick_forgets_what_was_counted_in_windows_that_have_ended(settings: Settings) -> None:
    store, windows = open_store(settings), windows_of("key_a", "5/minute;5/total")
    settings.instance_path.mkdir(exist_ok=True)
    store.make()
    store.take([windows], utc_now().timestamp() - 61)
    housekeeping.tick(settings)
    with closing(sqlite3.connect(settings.limits_path)) as connection:
        assert connection.execute("SELECT name FROM windows").fetchall() == [("key_a/total",)]


def test_a_tick_on_a_database_that_is_not_there_is_logged(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    housekeeping.tick(replace(settings, database_url=f"sqlite:///{tmp_path}/missing/mushu.sqlite3"))
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == ["housekeeping failed"]


def test_it_can_be_switched_off(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    assert housekeeping.start(replace(settings, housekeeping_seconds=0)) is None


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_when_its_parent_does_even_by_force(
    settings: Settings, tmp_path: Path, signal_number: signal.Signals
) -> None:
    command = [sys.executable, "-c", _PARENT, str(settings.instance_path), "3600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        assert not _ended(child, 0)
        parent.send_signal(signal_number)
        assert parent.wait(_LONG) == -signal_number
        assert _ended(child, _LONG)
        os.close(child)


def test_a_key_pressed_at_the_terminal_leaves_it_to_the_server_to_end_it(settings: Settings, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PARENT, str(settings.instance_path), "3600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        child = os.pidfd_open(pid)
        _wait_until_ignored(pid, signal.SIGINT)
        os.kill(pid, signal.SIGINT)
        assert not _ended(child, 0)
        os.kill(pid, signal.SIGTERM)
        assert _ended(child, _LONG)
        os.close(child)
        parent.kill()


_select = select.select


def _ended(process: int, seconds: float) -> bool:
    """Tell whether the process behind a pidfd has ended, which makes it readable; wait so long for it."""
    return bool(_select([process], [], [], seconds)[0])


def _wait_until_ignored(pid: int, number: signal.Signals) -> None:
    """Wait until a process ignores a signal (`SigIgn` of proc(5))."""
    while True:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        if int(status["SigIgn"], 16) >> (number - 1) & 1:
            return
