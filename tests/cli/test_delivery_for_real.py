"""The delivery by the client against a real server, the `env:` plugin and a real file."""

import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests.cli.conftest import Mushu, Served
from tests.conftest import TurnableClock

#: Kills the process in place of the call, or right after it.
_KILLER = """
import os, signal, sys
from mushu.cli import {module}
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


@pytest.mark.parametrize(("env", "path"), [("live", "/orgs"), ("test", "/sandbox/orgs")])
def test_a_delivered_key_opens_its_side_and_the_ledger_says_where_it_is(
    served: Served, mushu: Mushu, acme: str, env: str, path: str
) -> None:
    ran = mushu("api-key", "create", "--name", "backend", "--org", acme, "--env", env, "--to", "env:.env")
    assert ran.code == 0, ran.stderr
    assert _opens(served, _key(), path)
    place = f"env:{Path.cwd()}/.env#MUSHU_API_KEY"
    assert ran.json["delivered_to"] == [place]
    shown = mushu("api-key", "show", ran.json["key_id"], "--org", acme).json
    assert (shown["state"], shown["delivered_to"]) == ("active", [place])


@pytest.mark.parametrize(
    ("module", "name", "after", "written"),
    [
        ("stops", "Stop.write", False, False),
        ("stops", "Stop.write", True, True),
        ("stops", "Stop.read_back", True, True),
        ("pending", "PendingKey.confirm", False, True),
    ],
)
def test_a_client_that_is_killed_leaves_a_key_that_opens_nothing_and_fails_by_itself(
    served: Served, mushu: Mushu, acme: str, clock: TurnableClock, module: str, name: str, after: bool, written: bool
) -> None:
    create = ["api-key", "create", "--name", "backend", "--org", acme, "--to", "env:.env"]
    script = _KILLER.format(module=module, name=name, after=after, arguments=create)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-9, "", "")
    assert (_key() is not None) is written
    assert not _opens(served, _key())
    (left,) = mushu("api-key", "list", "--org", acme, "--json").json
    assert left["state"] == "pending"
    again = mushu(*create, *(["--force"] if written else []))
    assert again.code == 0, again.stderr
    assert _opens(served, _key())


def test_a_client_that_reports_too_late_puts_everything_back(
    served: Served, mushu: Mushu, acme: str, clock: TurnableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mushu.cli.stops import Stop

    read_back = Stop.read_back

    def dawdle(stop: Stop, secret: object) -> str:
        clock.turn(minutes=11)
        return read_back(stop, secret)  # type: ignore[arg-type]

    monkeypatch.setattr(Stop, "read_back", dawdle)
    ran = mushu("api-key", "create", "--name", "backend", "--org", acme, "--to", "env:.env")
    assert ran.code == 1
    assert "had to be confirmed by" in ran.stderr
    assert "What was written was put back." in ran.stderr
    assert _key() is None
    assert mushu("api-key", "list", "--org", acme, "--json").json == []
