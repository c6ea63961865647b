"""docs/cli.md shows what runs: every command line on it, in its order, against a real server."""

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Mushu, Served
from tests.cli.test_main import LEAVES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
SHOWN = [line.strip() for line in re.findall(r"^    (mushu .*)$", PAGE.read_text(), re.MULTILINE)]
#: Needs a browser, and is run in test_device.py.
ELSEWHERE = ("mushu auth login",)


def test_every_command_is_on_the_page() -> None:
    page = PAGE.read_text()
    missing = [" ".join(leaf) for leaf in LEAVES if f"mushu {' '.join(leaf)}" not in page]
    assert missing == []


def test_every_command_line_on_the_page_runs_in_order(
    served: Served, mushu: Mushu, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.world.user("ada@example.com", with_password=True)
    bob = served.world.user("bob@example.com")
    given = {"USER_ID": bob.id, "http://127.0.0.1:8000": served.url, "password.txt": None, "<": None}
    key_id = ""
    for line in SHOWN:
        if line in ELSEWHERE:
            continue
        words = [given.get(word, word) for word in shlex.split(line.removeprefix("mushu "))]
        arguments = [key_id if word == "KEY_ID" else word for word in words if word is not None]
        ran = mushu(*arguments, stdin=f"{served.world.password}\n")
        assert ran.code == 0, f"{line}: {ran.stderr}"
        if arguments[:2] in (["api-key", "create"], ["api-key", "rotate"]):
            key_id = ran.json["key_id"]
    assert len(SHOWN) > 25
