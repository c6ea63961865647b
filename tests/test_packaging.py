"""What is installed is what is here."""

import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import entry_points
from pathlib import Path

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
    assert sorted(listed) == sorted(found)


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
