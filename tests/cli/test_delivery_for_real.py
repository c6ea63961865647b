"""The delivery by the client against a real server, the `env:` plugin and a real file."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dotenv import dotenv_values

from mushu.destination import Holding, Secret
from mushu.destination.target import Target
from mushu.server import destinations
from mushu.server.audit import SYSTEM
from mushu.server.core import context_for, db
from mushu.server.db import writing
from mushu.server.destinations import DestinationRequest
from mushu.server.lifecycle.maintain import keep_house
from tests.cli.conftest import Mushu, Served
from tests.conftest import TurnableClock

pytestmark = pytest.mark.unmeasured

CREATE = ("api-key", "create", "--name", "backend", "--to", "env:.env", "--org")
#: Kills the process in place of the call, or right after it.
_KILLER = """
import os, signal, sys
import {module}
former = {module}.{name}
def killed(*arguments):
    if {after}: former(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
{module}.{name} = killed
from mushu.cli.main import main
main({arguments!r})
"""


def _key() -> str | None:
    return dotenv_values(Path(".env"), interpolate=False).get("MUSHU_API_KEY")


def _opens(served: Served, key: str | None, path: str = "/orgs") -> bool:
    return served.app.test_client().get(path, headers={"X-API-Key": key or ""}).status_code == 200


def _let_the_time_to_confirm_pass(served: Served, clock: TurnableClock) -> None:
    clock.turn(minutes=11)
    with served.app.app_context():
        keep_house(context_for(SYSTEM))


def _state(mushu: Mushu, org: str, key_id: str) -> str:
    keys = mushu("api-key", "list", "--org", org, "--all", "--json").json
    state: str = next(key["state"] for key in keys if key["key_id"] == key_id)
    return state


WRITE = "mushu.destination.target", "Target.write"
READ_BACK = "mushu.destination.target", "Target.read_back"
CONFIRM = "mushu.cli.client.new_key", "PendingKey.confirm"


def _killed_at(call: tuple[str, str], *arguments: str, after: bool) -> None:
    """Run a command that is killed before or after a call, and see that it says nothing."""
    script = _KILLER.format(module=call[0], name=call[1], after=after, arguments=list(arguments))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-9, "", "")


@pytest.mark.parametrize(
    ("call", "after", "written"),
    [(WRITE, False, False), (WRITE, True, True), (READ_BACK, True, True), (CONFIRM, False, True)],
)
def test_a_client_that_is_killed_leaves_a_key_that_opens_nothing_and_fails_by_itself(
    served: Served, mushu: Mushu, acme: str, clock: TurnableClock, call: tuple[str, str], after: bool, written: bool
) -> None:
    _killed_at(call, *CREATE, acme, after=after)
    assert (_key() is not None) is written
    assert not _opens(served, _key())
    (left,) = mushu("api-key", "list", "--org", acme, "--json").json
    assert left["state"] == "pending"
    if written:  # it may be on its way still, until its time is over or somebody says that it is not
        said = mushu(*CREATE, acme)
        assert (said.code, f"holds {left['key_id']}, which is pending" in said.stderr) == (1, True)
        _let_the_time_to_confirm_pass(served, clock)
    mushu(*CREATE, acme).ok()
    assert _opens(served, _key())


@pytest.fixture
def dawdling(clock: TurnableClock, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have the time to confirm pass while the key is read back, from now on."""
    read_back = Target.read_back

    def dawdle(target: Target, secret: Secret) -> Holding:
        clock.turn(minutes=11)
        return read_back(target, secret)

    return lambda: monkeypatch.setattr(Target, "read_back", dawdle)


def test_a_client_that_reports_too_late_puts_everything_back(
    mushu: Mushu, acme: str, dawdling: Callable[[], None]
) -> None:
    dawdling()
    mushu(*CREATE, acme).fails("had to be confirmed by", "What was written was put back.")
    assert _key() is None
    assert mushu("api-key", "list", "--org", acme, "--json").json == []


@pytest.mark.parametrize(("env", "path"), [("live", "/orgs"), ("test", "/sandbox/orgs")])
def test_a_delivered_and_a_rotated_key_open_their_environment_and_the_ledger_says_where_they_are(
    served: Served, mushu: Mushu, acme: str, env: str, path: str
) -> None:
    created, old = mushu(*CREATE, acme, "--env", env), _key()
    assert created.code == 0, created.stderr
    place = f"env:{Path.cwd()}/.env#MUSHU_API_KEY"
    old_id = created.json["key_id"]
    assert created.json["delivered_to"] == [place]
    assert _opens(served, old, path)
    shown = mushu("api-key", "show", old_id, "--org", acme).json
    assert (shown["state"], shown["delivered_to"]) == ("active", [place])
    ran = mushu("api-key", "rotate", old_id, "--org", acme, "--to", "env:.env").ok()
    assert (ran.json["replaces"], ran.json["delivered_to"]) == (old_id, [place])
    assert _key() not in (None, old)
    assert _opens(served, old, path)
    assert _opens(served, _key(), path)
    shown = mushu("api-key", "show", old_id, "--org", acme).json
    assert (shown["state"], shown["replaced_by"]) == ("retiring", ran.json["key_id"])
    (line,) = mushu("api-key", "deliveries", ran.json["key_id"], "--org", acme, "--json").json
    assert (line["uri"], line["state"], line["by"]) == (place, "verified", "client")
    mushu("api-key", "rotate", ran.json["key_id"], "--org", acme, "--to", "env:.env", "--now").ok()
    assert _state(mushu, acme, ran.json["key_id"]) == "revoked"


@pytest.mark.parametrize(
    ("call", "after", "written", "over"),
    [
        (WRITE, False, False, False),
        (WRITE, True, True, False),
        (READ_BACK, True, True, False),
        (CONFIRM, False, True, False),
        (CONFIRM, True, True, True),
    ],
)
def test_a_rotation_that_is_killed_leaves_one_working_key_and_can_be_done_again(
    served: Served, mushu: Mushu, acme: str, call: tuple[str, str], after: bool, written: bool, over: bool
) -> None:
    old_id, old = mushu(*CREATE, acme).json["key_id"], _key()
    rotate = ("api-key", "rotate", old_id, "--org", acme, "--to", "env:.env")
    _killed_at(call, *rotate, after=after)
    assert (_key() != old) is written
    assert _opens(served, old)
    assert _opens(served, _key()) is (over or not written)
    if over:
        assert f"which has taken the place of {old_id} already." in mushu(*rotate).stderr
        return
    (left,) = (key for key in mushu("api-key", "list", "--org", acme, "--json").json if key["key_id"] != old_id)
    assert left["state"] == "pending"
    if written:
        assert f"mushu api-key delete {left['key_id']}" in mushu(*rotate).stderr
        assert mushu("api-key", "delete", left["key_id"], "--org", acme).code == 0
    mushu(*rotate).ok()
    assert _opens(served, _key())


def test_a_rotation_that_is_reported_too_late_puts_the_old_key_back(
    served: Served, mushu: Mushu, acme: str, dawdling: Callable[[], None]
) -> None:
    old_id, old = mushu(*CREATE, acme).json["key_id"], _key()
    dawdling()
    mushu("api-key", "rotate", old_id, "--org", acme, "--to", "env:.env").fails("What was written was put back.")
    assert (_key(), _state(mushu, acme, old_id)) == (old, "active")
    assert _opens(served, old)


def test_a_deleted_key_s_value_makes_way_for_a_new_key_and_a_foreign_one_does_not(
    served: Served, mushu: Mushu, acme: str
) -> None:
    old_id = mushu(*CREATE, acme).json["key_id"]
    assert f"holds {old_id}, a key that is active" in mushu(*CREATE, acme).stderr
    assert mushu("api-key", "delete", old_id, "--org", acme).code == 0
    assert mushu(*CREATE, acme, "--env", "test").code == 0
    other = mushu("org", "create", "other").json["org_id"]
    assert "holds a value already" in mushu(*CREATE, other).stderr


def test_a_key_that_was_delivered_from_here_is_not_rotated_elsewhere_by_mistake(
    served: Served, mushu: Mushu, acme: str
) -> None:
    key_id = mushu(*CREATE, acme).json["key_id"]
    mushu("api-key", "rotate", key_id, "--org", acme).fails(
        f"`mushu api-key rotate {key_id} --to 'env:{Path.cwd()}/.env#MUSHU_API_KEY'`"
    )
    assert _state(mushu, acme, key_id) == "active"
    assert _opens(served, mushu("api-key", "rotate", key_id, "--org", acme, "--show").json["key"])


def test_the_server_puts_a_key_and_its_successors_where_an_operator_named_a_place(
    served: Served, mushu: Mushu, acme: str, clock: TurnableClock
) -> None:
    core = served.world.core
    with served.app.app_context(), writing(db.session):
        uri = f"env:{Path.cwd()}/.env#MUSHU_API_KEY"
        destinations.add(db.session, clock, SYSTEM, core.sealing_keys, DestinationRequest(acme, "backend", uri))
    created = mushu("api-key", "create", "--name", "n", "--org", acme, "--deliver-to", "backend").ok()
    assert ("key" in created.json, created.json["delivered_to"]) == (False, [uri])
    old = _key()
    assert _opens(served, old)
    ran = mushu("api-key", "rotate", created.json["key_id"], "--org", acme).ok()
    assert ("key" in ran.json, ran.json["delivered_to"]) == (False, [uri])
    assert _key() != old
    named = mushu("api-key", "rotate", ran.json["key_id"], "--org", acme, "--deliver-to", "backend", "--now").ok()
    assert _opens(served, _key())
    unknown = mushu("api-key", "rotate", named.json["key_id"], "--org", acme, "--deliver-to", "nowhere")
    assert (unknown.code, "There is no live destination 'nowhere'" in unknown.stderr) == (1, True)


@pytest.mark.fault
def test_a_deleted_key_is_taken_away_from_where_this_account_put_it_and_from_nowhere_else(
    mushu: Mushu, acme: str, config_folder: Path
) -> None:
    Path(".env").write_text("MINE=1\n")
    Path(".env").chmod(0o600)
    key_id = mushu(*CREATE, acme).json["key_id"]
    deleted = mushu("api-key", "delete", key_id, "--org", acme, "--yes")
    assert (deleted.code, Path(".env").read_text()) == (0, "MINE=1\n")
    assert f"{Path('.env').resolve()}#MUSHU_API_KEY: its value was removed." in deleted.stderr

    key_id = mushu(*CREATE, acme).json["key_id"]
    (config_folder / "deliveries.json").unlink()  # as on another machine
    deleted = mushu("api-key", "delete", key_id, "--org", acme, "--yes")
    assert "put there by another account or machine: remove it there." in deleted.stderr
    assert _key() is not None

    Path(".env").write_text("")
    kept = mushu(*CREATE, acme).json["key_id"]
    assert mushu("api-key", "delete", kept, "--org", acme, "--yes", "--keep-in-destination").code == 0
    assert _key() is not None


@pytest.mark.fault
def test_what_is_in_the_way_of_taking_it_away_is_told_and_the_same_command_finishes_it(mushu: Mushu, acme: str) -> None:
    key_id = mushu(*CREATE, acme).json["key_id"]
    held = Path(".env").read_text()
    Path(".env").unlink()
    Path(".env").mkdir()
    delete = ("api-key", "delete", key_id, "--org", acme, "--yes")
    stopped = mushu(*delete)
    assert (stopped.code, stopped.json) == (1, {"key_id": key_id, "deleted": True})
    assert f"{key_id} is deleted. Run the same command again" in stopped.stderr
    Path(".env").rmdir()
    Path(".env").write_text(held)
    Path(".env").chmod(0o600)
    assert mushu(*delete).code == 0
    assert _key() is None
    assert mushu(*delete).code == 1, "there is nothing left to finish"


@pytest.mark.fault
def test_a_place_on_another_machine_is_not_taken_for_empty(
    mushu: Mushu, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id = mushu(*CREATE, acme).json["key_id"]
    delete = ("api-key", "delete", key_id, "--org", acme, "--yes")
    Path(".env").rename("there")
    monkeypatch.setenv("MUSHU_ENV_MACHINE", "elsewhere")
    lost = mushu(*delete)
    assert (lost.code, "cannot be told. Run this again on" in lost.stderr) == (1, True)

    Path("there").rename(".env")
    monkeypatch.delenv("MUSHU_ENV_MACHINE")
    assert "its value was removed" in mushu(*delete).stderr
    assert _key() is None


@pytest.mark.fault
def test_a_delivery_needs_no_folder_to_keep_its_record_in(
    mushu: Mushu, served: Served, acme: str, config_folder: Path
) -> None:
    (config_folder / "deliveries.json").mkdir()
    made = mushu(*CREATE, acme)
    assert (made.code, _opens(served, _key())) == (0, True)
    assert "will not take its value away" in made.stderr
