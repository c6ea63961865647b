"""The blocks of the documentation, in their order: what kind each is of, and why some are not run."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
#: README is first: there is one organization then, which need not be named. Decisions show no commands to
#: follow. What commands.md shows is compared with each command's help in test_docs.py.
PAGES: Final = sorted(
    str(page.relative_to(ROOT))
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    if page.parent.name != "decisions" and page.name != "commands.md"
)
#: Why a block is not run, in the words of its mark, and what such a block must hold.
REASONS: Final = {
    "a drawing": "[─│]",
    "another way in than the one above": "^MUSHU_VAULT_",
    "belongs to a class": r"^def \w+\(self",
    "configures a proxy, and runs in its tests": "[Mm]ushu|entryPoints",
    "builds a package, with setuptools from pypi.org": "pip install .*mushu-folder",
    "needs a PostgreSQL server": "postgresql",
    "needs an issuer of tokens": "auth/(kubernetes|jwt)",
    "printed by another version": "key_…|before-0007",
    "runs in a browser": "fetch",
    "serves until it is stopped": "script/up",
}
_BLOCK: Final = re.compile(
    r"(?:^<!-- not run: (?P<mark>[^\n]+) -->\n\n?)?"
    r"(?:^```(?P<kind>\w*)(?: (?P<name>\S+))?\n(?P<fenced>.*?)^```$"
    r"|(?<=\n\n)(?P<indented>(?: {4}[^\n]*\n|\n(?= {4}))+))",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One block of a page; an indented one is for the shell, and a named one is the content of a file."""

    line: int
    kind: str
    name: str
    text: str
    mark: str | None
    #: Follows the block before it without a word between: what that one answers.
    is_answer: bool

    def commands(self) -> Iterator[str]:
        """Yield what a shell reads at once: a line, or several where one goes on in the next."""
        command = ""
        for line in self.text.splitlines(keepends=True):
            command += line
            if not command.rstrip().endswith(("\\", "|")) and _is_closed(command):
                if command.strip():
                    yield command
                command = ""
        assert not command, f"this does not end: {command}"


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text()
    found, end = [], 0
    for block in _BLOCK.finditer(text):
        is_answer, end = not text[end : block.start()].strip(), block.end()
        line = text.count("\n", 0, block.start()) + 1
        if block["indented"] is None:
            found.append(Block(line, block["kind"], block["name"] or "", block["fenced"], block["mark"], is_answer))
        else:
            shown = re.sub("^ {4}", "", block["indented"], flags=re.MULTILINE)
            found.append(Block(line, "sh", "", shown, block["mark"], is_answer))
    return found


def _is_closed(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return True
