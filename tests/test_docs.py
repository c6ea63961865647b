"""The documentation names what there is, and nothing else."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mushu.server import errors
from mushu.server.errors import MushuError
from mushu.server.web.problems import status_of

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = [ROOT / "instance" / "README.md", ROOT / "deploy" / "README.md"]
COMMANDS = ROOT / "docs" / "commands.md"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ELSEWHERE])


def test_every_command_is_described_as_its_help_says() -> None:
    # By a process of its own: Click remembers how a command was last asked for its help.
    written = [sys.executable, "-P", str(ROOT / "script" / "commands" / "manual.py")]
    manual = subprocess.run(written, capture_output=True, text=True, check=True).stdout
    assert COMMANDS.read_text() == manual, "run script/document-commands"


def test_every_error_code_is_documented_with_its_status_and_none_that_is_not() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    known = {
        kind.code: str(int(status_of(kind.__new__(kind))))
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, MushuError)
    }
    assert dict(rows) == known


def test_every_error_stands_in_the_tree_that_its_module_draws() -> None:
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, MushuError):
            assert name in (errors.__doc__ or "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_flask_command_that_a_page_shows_exists(page: Path) -> None:
    described = {
        line.removeprefix("## flask ") for line in COMMANDS.read_text().splitlines() if line.startswith("## flask ")
    }
    described |= {"db upgrade", "db downgrade", "db migrate", "db copy"}
    described |= {" ".join(command.split()[:2]) for command in described}  # of a group within a group
    groups = {command.split()[0] for command in described}
    for words in re.findall(r"flask ((?:[a-z-]+)(?: [a-z-]+)?)", page.read_text()):
        if words.split()[0] in groups and words not in groups:
            assert words in described or words.split()[0] in described, f"{page.name} shows `flask {words}`"
