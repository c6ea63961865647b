"""The canary is proven: a leak that is planted in a channel is found there."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.canary.planting import LEAKS, truth_about
from tests.canary.watch import Scene
from tests.long import times

_FOUND_IN: Final = {
    "standard output": "notes/terminal",
    "standard error": "notes/terminal",
    "a log at level debug": "notes/log",
    "a log, encoded": "notes/log",
    "the extras of a log": "notes/log",
    "a temporary file": "tmp/",
    "an argument of a child": "notes/started",
    "the environment of a child": "notes/started",
    "its own environment": "notes/started",
    "the database": "instance/mushu.sqlite3",
    "the audit trail": "instance/mushu.sqlite3",
    "a statement that was rolled back": "notes/sqlite",
    "a copy beside the destination": "destination/.env.bak",
    "the message of an error": "notes/terminal",
    "a local of a frame": "notes/traceback",
    "the cause of an error": "notes/traceback",
}
_PREPARE = "from mushu.server.config import Settings; from mushu.server.up import prepare; prepare(Settings.load())"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An instance that was started once."""
    scene = Scene(tmp_path_factory.mktemp("template"))
    command = [sys.executable, "-c", _PREPARE]
    subprocess.run(command, env=scene.environment, cwd=scene.folder, check=True, capture_output=True)
    return scene.folder / "instance"


@pytest.fixture
def scene(tmp_path: Path, template: Path) -> Scene:
    shutil.copytree(template, tmp_path / "instance")
    return Scene(tmp_path, [tmp_path / "destination" / ".env", tmp_path / "instance" / "first-key.env"])


def create(scene: Scene, plant: str) -> int:
    uri = f"env:{scene.destinations[0]}#MUSHU_API_KEY"
    return scene.run("flask", "keys", "create", "--org", "default", "--name", "k", "--to", uri, plant=plant)[0]


def test_without_one_nothing_is_found(scene: Scene) -> None:
    assert create(scene, "nothing") == 0
    assert len(scene.plaintexts) == 2  # the first key, and this
    assert {path.name.partition("-")[0] for path in (scene.folder / "notes").iterdir()} >= {"log", "sqlite", "terminal"}
    assert scene.leaks() == {}


@pytest.mark.parametrize("leak", [*LEAKS][: times(12, 16)])
def test_a_planted_leak_is_found(scene: Scene, leak: str) -> None:
    create(scene, leak)
    scene.learn(truth_about(scene.folder / "notes").read_text())  # where the write failed, no destination tells
    found = scene.leaks()
    assert any(path.startswith(_FOUND_IN[leak]) for path in found), found
