"""The documentation names what there is, and nothing else."""

import inspect
import re
from pathlib import Path

import pytest

from mushu.server import errors
from mushu.server.errors import MushuError
from mushu.server.web.problems import status_of
from script.commands.manual import manual

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = [ROOT / "instance" / "README.md", ROOT / "deploy" / "README.md"]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ELSEWHERE])


def test_every_command_is_described_as_its_help_says() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    assert page == manual(), "run script/document-commands"


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
    described = {line.removeprefix("## flask ") for line in manual().splitlines() if line.startswith("## flask ")}
    described |= {"db upgrade", "db downgrade", "db migrate"}
    groups = {command.split()[0] for command in described}
    for words in re.findall(r"flask ((?:[a-z-]+)(?: [a-z-]+)?)", page.read_text()):
        if words.split()[0] in groups and words not in groups:
            assert words in described or words.split()[0] in described, f"{page.name} shows `flask {words}`"
