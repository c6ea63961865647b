"""docs/threats.md names tests that there are, and every place that reveals a plaintext."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "threats.md").read_text()
HELD_BY = re.findall(r"`(tests/[\w/.]+)::(\w+)`", PAGE)


@pytest.mark.parametrize(("file", "test"), HELD_BY, ids=[test for _, test in HELD_BY])
def test_every_promise_is_held_by_a_test_that_exists(file: str, test: str) -> None:
    assert re.search(rf"^ *def {test}\(", (ROOT / file).read_text(), re.MULTILINE)


def test_every_row_of_a_way_out_names_its_test() -> None:
    ways = [line for line in PAGE.partition("## Where plaintext")[0].splitlines() if line.startswith("| ")]
    headings = [line for line in ways if line.startswith("| way out")]
    assert len(ways) - len(headings) == len(HELD_BY) > 20


def test_every_module_that_reveals_a_plaintext_is_listed_and_judged() -> None:
    revealing = {
        str(path.relative_to(ROOT))
        for base in ("mushu", "plugins")
        for path in (ROOT / base).rglob("*.py")
        if ".reveal()" in path.read_text() and not path.is_relative_to(ROOT / "mushu" / "testing")
    }
    assert set(re.findall(r"^\| `((?:mushu|plugins)/[\w/]+\.py)` \| \w", PAGE, re.MULTILINE)) == revealing
