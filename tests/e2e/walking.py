"""The shell that a reader of a page has open, and what they type."""

import json
import os
import re
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from mushu.destination import Surroundings, open_destination
from tests.e2e.pages import REASONS, Block

#: A word that a reader replaces, and where a command that makes such a thing shows what by.
LEARNED: Final = {
    "KEY_ID": r'"key_id": "(key_\w+)"',
    "OLD_ID": r'"replaces": "(key_\w+)"',
    "MEDIA_ID": r"\b(media_\w+)",
    "ROLE_ID": r"(?m)^(\w{8}(?:-\w{4}){3}-\w{12})$",
    "MESSAGE_ID": r'"message_id": ?"(msg_\w+)"',
    "TENANT_ID": r'"tenant_id": "(tenant_\w+)"',
}
#: What a reader types at the terminal where a command asks.
TYPED: Final = {"flask keys delete": "y", "flask destinations remove": "y", "vault login": "$ROOT_TOKEN"}
#: What has the same effect as a block that is not run.
INSTEAD: Final = {"builds a package, with setuptools from pypi.org": "pip-by-hand mushu-folder"}
#: A command that may print a key: one that is told to, or to make one without a place for it.
PRINTS: Final = re.compile(r"--show|api-key create (?!.*--to )")
_KEY: Final = re.compile(r"m[a-z]{2}_(?:live_|test_)?\w{24}")
#: A command that makes something which has one of those words.
MAKES: Final = re.compile(r"\b(create|rotate|upload|send|notify|role-id)\b")


@dataclass
class Walk:
    """The shell that a reader has open for a page."""

    folder: Path
    environment: dict[str, str]
    #: From an address or a path of the page to what it is here, and from a word to what was learned for it.
    here: dict[str, str]
    learned: dict[str, str] = field(default_factory=dict)
    last: str = ""
    process: "subprocess.Popen[str]" = field(init=False)

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=self.environment, cwd=self.folder, text=True, start_new_session=True,
        )  # fmt: skip
        self.run("set -o pipefail")
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def follow(self, block: Block) -> None:
        """Do with a block what its kind says."""
        if block.mark:
            assert re.search(REASONS[block.mark], block.text, re.MULTILINE), f"{block.mark} is not so"
            assert block.kind != "text" or not self.shows(block.text), "this would pass without its mark"
            self.run(INSTEAD.get(block.mark, "true"))
        elif block.name:
            (self.folder / block.name).parent.mkdir(exist_ok=True)
            (self.folder / block.name).write_text(self.adapted(block.text))
        elif block.kind == "sh":
            for command in block.commands():
                self.run(command)
        elif block.kind == "dotenv":
            self.run(f"set -a\n{block.text}")
            self.run("set +a; flask keys list --org default")  # the server takes these settings
        elif block.kind == "python":
            (self.folder / "example.py").write_text(block.text)
            self.run("python example.py")
        elif block.kind == "json":
            shown = json.loads(block.text)
            assert not block.is_answer or json.loads(self.last).keys() == shown.keys(), self.last
        elif block.kind == "uri":
            for uri in block.text.split():
                open_destination(uri, Surroundings(self.folder))
        else:
            assert block.kind == "text", "nothing runs this; what cannot be run has a mark"
            assert self.shows(block.text), self.last

    def run(self, command: str) -> None:
        """Run one command, and remember what it answered."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        here = self.adapted(command)
        asks = next((asking for asking in TYPED if asking in command), None)
        given = TYPED[asks] if asks else "a-line"
        lines = [f"{{ at-terminal {here}" if asks else f"{{ {here}", f"}} <<<{given}; printf '\\n=== %s\\n' $?"]
        print(*lines, sep="\n", file=self.process.stdin, flush=True)
        line, self.last = "", ""
        for line in self.process.stdout:
            if line.startswith("=== "):
                break
            self.last += line
        told = re.search(r"# exits with (\d)", command)
        assert line == f"=== {told[1] if told else 0}\n", f"{command}{line}{self.last}"
        assert PRINTS.search(command) or not _KEY.search(self.last), f"{command}prints a key"
        if MAKES.search(command):
            found = {word: re.findall(pattern, self.last) for word, pattern in LEARNED.items()}
            self.learned |= {word: answers[-1] for word, answers in found.items() if answers}

    def adapted(self, text: str) -> str:
        for there, here in self.here.items():
            text = text.replace(there, here)
        for word, answer in self.learned.items():
            text = re.sub(rf"(?<![$\w]){word}\b", answer, text)
        return text

    def shows(self, text: str) -> bool:
        """Tell whether the last answer holds what the page shows, with anything for each `…`."""
        return re.search(".+".join(map(re.escape, text.strip().split("…"))), self.last) is not None
