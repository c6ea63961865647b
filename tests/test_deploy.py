"""deploy/: what the units and their page name is there, and systemd understands them."""

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import click
import pytest

from mushu.lazy_group import LazyCommand
from mushu.server.config import FOREIGN, Settings
from mushu.server.main import server

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
#: Where the units expect the checkout.
PLACE = "/opt/mushu"
UNITS = sorted(DEPLOY.glob("mushu*"))
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
PAGE = (DEPLOY / "README.md").read_text()


def values(unit: Path, name: str) -> list[str]:
    """Return what a unit says under a name, each time it does."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def hardening(unit: Path) -> list[str]:
    """Return the lines behind which a service is walled in."""
    return unit.read_text().partition("UMask=")[2].partition("\n[Install]")[0].strip().splitlines()


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_the_program_of_a_service_exists_with_its_module_or_its_command_and_options(unit: Path) -> None:
    (line,) = values(unit, "ExecStart")
    program, *arguments = shlex.split(line)
    assert os.access(program.replace(PLACE, str(ROOT)), os.X_OK)
    assert Path(program).name == "mushu-server", "no file of the folder that it runs in is read"
    found = server.commands[arguments[0]]
    if isinstance(found, LazyCommand):
        group = found.loaded
        assert isinstance(group, click.Group)
        command = group.commands[arguments[1]]
        assert command.make_context(arguments[1], arguments[2:]).params["due"], "every option is one of the command's"
    else:
        assert arguments == ["up"]


@pytest.mark.fault
def test_no_service_takes_code_from_the_folder_that_it_runs_in() -> None:
    assert len(SERVICES) >= 2
    for unit in SERVICES:
        assert "PYTHONSAFEPATH=1" in values(unit, "Environment")[0].split()
        assert f"{PLACE}/.venv/bin/mushu-server" in values(unit, "ExecStart")[0]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_every_page_that_a_unit_names_exists(unit: Path) -> None:
    pages = [word for line in values(unit, "Documentation") for word in line.split()]
    assert pages
    for page in pages:
        assert Path(page.replace(f"file://{PLACE}", str(ROOT))).is_file(), page


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_every_setting_that_a_unit_names_exists(unit: Path) -> None:
    known = FOREIGN | {f"MUSHU_{field.name.upper()}" for field in fields(Settings)}
    assert set(re.findall(r"MUSHU_[A-Z_]+", unit.read_text())) <= known


def test_the_services_share_their_instance_folder_and_their_walls() -> None:
    server, rotating = DEPLOY / "mushu.service", DEPLOY / "mushu-rotate.service"
    for name in ("User", "Environment", "EnvironmentFile", "StateDirectory", "WorkingDirectory"):
        assert values(server, name) == values(rotating, name) != []
    assert hardening(server) == hardening(rotating)
    promised = re.findall(r"`([A-Z]\w+(?:=\w+)?)`", PAGE.partition("## What the units")[2].partition("So a key")[0])
    assert len(promised) > 5
    for wall in promised:
        assert any(line.startswith(wall) for line in server.read_text().splitlines()), wall


def test_the_timer_starts_the_rotation() -> None:
    """A timer without `Unit=` starts the service of its own name."""
    assert values(DEPLOY / "mushu-rotate.timer", "Unit") == []
    assert (DEPLOY / "mushu-rotate.service").is_file()


def test_the_page_names_every_unit_and_no_other() -> None:
    assert set(re.findall(r"mushu[a-z-]*\.(?:service|timer)", PAGE)) == {unit.name for unit in UNITS}


def test_systemd_understands_the_units_where_it_is_installed(tmp_path: Path) -> None:
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace(PLACE, str(ROOT)))
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    done = subprocess.run(
        [analyze, "verify", "--man=no", *(str(tmp_path / unit.name) for unit in UNITS)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, ""), "a key that it does not know is only a warning"
