"""What is installed is what is here."""

import re
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_every_package_of_the_tree_is_listed_in_setup_cfg() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()
    found = {
        ".".join(folder.relative_to(base).parts)
        for base in (ROOT, ROOT / "plugins")
        for folder in (init.parent for init in base.rglob("__init__.py"))
        if folder.relative_to(base).parts[0] in ("mushu", "mushu_dotenv", "mushu_vault")
    }
    # Scripts of Alembic, which are no packages here, and stand inside the server in a wheel.
    found |= {"mushu.server.migrations", "mushu.server.migrations.versions"}
    assert sorted(listed) == sorted(found)


@pytest.mark.fault
def test_nothing_advises_to_take_the_name_from_the_public_index() -> None:
    """There it belongs to another project, whatever the version."""
    pages = [
        path for pattern in ("README.md", "docs/**/*.md", "deploy/*", "mushu/**/*.py") for path in ROOT.glob(pattern)
    ]
    advice = [line for page in pages for line in page.read_text().splitlines() if "pip install" in line]
    bare = re.compile(r"(?<![\w/.-])mushu(\[[\w,]+\])?(?![\w/.-]|\[| @ http| --index-url)")
    assert len(advice) > 8
    assert not [line for line in advice if bare.search(line.partition("pip install")[2])]


def test_every_entry_point_can_be_loaded() -> None:
    ours = [
        entry_point
        for group in ("mushu.destinations", "flask.commands")
        for entry_point in entry_points(group=group)
        if entry_point.value.startswith("mushu")
    ]
    assert len(ours) >= 6
    for entry_point in ours:
        assert entry_point.load() is not None


def test_the_base_of_the_package_loads_no_server_code() -> None:
    script = (
        "import sys, mushu, mushu.destination, mushu.keyformat, mushu.sdk; print([m for m in sys.modules if m in %r])"
    )
    heavy = ("flask", "sqlalchemy", "click", "httpx", "attrs", "pydantic", "mushu.server", "dotenv", "hvac")
    done = subprocess.run([sys.executable, "-c", script % (heavy,)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
