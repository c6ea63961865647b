"""The plugin that docs/plugins.md builds: taken from the page, installed, tried by the kit, and given a key."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mushu.destination import Surroundings, digest_of, installed_schemes, open_destination
from tests.server.commands.conftest import Run

pytestmark = pytest.mark.unmeasured

PAGE = Path(__file__).resolve().parents[3] / "docs" / "plugins.md"
MODULE = "mushu_folder"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The files that the page shows, each under the name that it gives."""
    folder = tmp_path / "mushu-folder"
    folder.mkdir()
    for name, content in re.findall(r"^```\w+ (\S+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        (folder / name).write_text(content)
    return folder


@pytest.fixture
def installed(project: Path, tmp_path: Path) -> Path:
    """The folder that the package was installed into, by hand: pip would ask the network for setuptools."""
    described = tomllib.loads((project / "pyproject.toml").read_text())
    name, version = described["project"]["name"], described["project"]["version"]
    target = tmp_path / "site-packages"
    metadata = target / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = described["project"]["entry-points"].items()
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items()) for group, points in groups
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    for module in described["tool"]["setuptools"]["py-modules"]:
        (target / f"{module}.py").write_text((project / f"{module}.py").read_text())
    return target


@pytest.fixture
def _importable(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(installed)
    yield
    sys.modules.pop(MODULE, None)


def _lines_of_code(path: Path) -> int:
    """Count what is neither blank, nor a comment, nor a docstring, nor an import."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    return len([line for line in lines if line and not line.startswith(("#", '"""', "import ", "from "))])


def test_the_plugin_is_as_short_as_the_page_says(project: Path) -> None:
    assert f"It is {_lines_of_code(project / f'{MODULE}.py')} lines" in PAGE.read_text()
    assert _lines_of_code(project / f"{MODULE}.py") < 60


def test_the_plugin_passes_the_whole_kit(project: Path, installed: Path) -> None:
    (project / f"{MODULE}.py").unlink()  # what is installed is tried, not what lies there
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "-rA", "--tb=short", "."],
        env={**os.environ, "PYTHONPATH": str(installed), "CI": "true"},
        cwd=project, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    last = done.stdout.strip().splitlines()[-1]
    assert re.fullmatch(r"=+ (\d+) passed in .*", last), last
    assert done.stdout.count("\nPASSED ") >= 50


@pytest.mark.usefixtures("_importable")
def test_the_plugin_is_found_by_its_entry_point(tmp_path: Path) -> None:
    assert "folder" in installed_schemes()
    opened = open_destination(f"folder:{tmp_path}#api_key", Surroundings(tmp_path))
    assert type(opened).__module__ == MODULE
    assert opened.read().digest is None


@pytest.mark.usefixtures("_importable")
def test_a_key_is_delivered_with_the_plugin_and_taken_away_again(run: Run, acme: str, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    uri = f"folder:{secrets}#api_key"
    ran = run("keys", "create", "--org", acme, "--name", "backend", "--to", uri)
    assert ran.code == 0, ran.stderr
    plaintext = (secrets / "api_key").read_text()
    assert ran.json["delivered_to"] == [uri]
    assert plaintext.startswith("msk_live_")
    assert plaintext not in ran.stdout + ran.stderr
    assert open_destination(uri, Surroundings(tmp_path)).read().digest == digest_of(plaintext)
    assert [(path.name, path.stat().st_mode & 0o777) for path in secrets.iterdir()] == [("api_key", 0o600)]
    assert run("keys", "delete", ran.json["key_id"], "--yes").code == 0
    assert list(secrets.iterdir()) == []
