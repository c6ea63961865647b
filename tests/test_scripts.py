"""script/: what the scripts leave behind, whatever umask they are started with."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from script.pictures import take
from tests.long import LONG

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [path for path in sorted((ROOT / "script").iterdir()) if path.is_file() and path.name != "environment"]


FAULTY = [pytest.param(0o000, "0022", marks=pytest.mark.fault), pytest.param(0o002, "0022", marks=pytest.mark.fault)]


@pytest.mark.parametrize(("umask", "kept"), [*FAULTY, (0o022, "0022"), (0o077, "0077")])
def test_what_a_script_makes_nobody_else_can_write_to(umask: int, kept: str) -> None:
    done = subprocess.run(
        ["bash", "-c", ". script/environment; umask"],
        cwd=ROOT, umask=umask, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == kept


def test_every_script_sets_its_umask_there() -> None:
    assert len(SCRIPTS) >= 4
    for path in SCRIPTS:
        assert "\n. script/environment\n" in path.read_text(), path.name


@pytest.mark.fault
def test_no_script_has_python_take_modules_from_the_folder_that_it_runs_in() -> None:
    """Except for those whose module stands in this checkout, which they run in, and is installed nowhere."""
    for path in [*SCRIPTS, ROOT / "script" / "environment"]:
        for line in path.read_text().splitlines():
            assert not re.search(r'python"? -m(?! (script|bench)\.)', line), f"{path.name}: {line}"


def test_the_pictures_of_the_dashboard_are_those_that_its_page_shows_and_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The long form takes them again."""
    into = tmp_path if LONG else take.PICTURES
    if LONG:
        monkeypatch.setattr("sys.argv", ["script/screenshots", "--into", str(tmp_path)])
        take.main()
    shown = re.findall(
        r"^!\[([^\]]{20,})\]\(images/([\w-]+\.png)\)$", (ROOT / "docs/dashboard.md").read_text(), re.MULTILINE
    )
    assert sorted(name for _, name in shown) == sorted(file.name for file in into.iterdir())
    assert len(shown) == 8
    assert all(file.stat().st_size <= 60_000 for file in into.iterdir())


def test_without_chromium_the_script_for_pictures_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("sys.argv", ["script/screenshots"])
    with pytest.raises(SystemExit, match="it needs Chromium"):
        take.main()
