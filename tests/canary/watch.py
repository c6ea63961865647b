"""Where a key may not be: everywhere but in its destination."""

import base64
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from tests.e2e.conftest import ROOT, clean_environment
from tests.server.conftest import CHEAP_ARGON2

KEY: Final = re.compile(rb"msk_(?:live|test)_[0-9A-Za-z]{28}")


@dataclass
class Scene:
    """A folder in which everything happens, with a spy's notes in it, and the values that must not be found there."""

    folder: Path
    #: Files that are destinations.
    destinations: list[Path] = field(default_factory=list)
    plaintexts: set[str] = field(default_factory=set)
    extra: dict[str, str] = field(default_factory=dict)
    #: What was noted of processes, so that it is noted once.
    _seen: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        for name in ("notes", "home", "tmp", "destination"):
            (self.folder / name).mkdir(exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        cheap = {f"MUSHU_{name.upper()}": str(value) for name, value in CHEAP_ARGON2.items()}
        return clean_environment(
            self.folder / "home",
            TMPDIR=str(self.folder / "tmp"),
            PYTHONPATH=str(ROOT),
            MUSHU_INSTANCE_PATH=str(self.folder / "instance"),
            MUSHU_LOG_LEVEL="DEBUG",
            **cheap,
            **self.extra,
        ) | {"TMPDIR": str(self.folder / "tmp")}

    def command(self, plant: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tests.canary.spy", str(self.folder / "notes"), plant, *arguments]

    def run(self, *arguments: str, plant: str = "nothing") -> tuple[int, str]:
        """Run a command on a terminal of its own; keep what it showed, and return it with the exit status."""
        master, slave = pty.openpty()
        process = subprocess.Popen(
            self.command(plant, *arguments),
            stdin=slave, stdout=slave, stderr=slave, env=self.environment, cwd=self.folder,
        )  # fmt: skip
        os.close(slave)
        watcher = threading.Thread(target=self._watch_processes, args=(process,), daemon=True)
        watcher.start()
        shown = b"".join(_read(master))
        code = process.wait(timeout=60)
        watcher.join()
        os.close(master)
        self.note("terminal", f"$ {arguments}\n{shown.decode(errors='replace')}")
        self.learn()
        return code, shown.decode(errors="replace")

    def note(self, channel: str, text: str) -> None:
        with (self.folder / "notes" / channel).open("a") as file:
            file.write(text + "\n")

    def learn(self, *values: str) -> None:
        """Remember what keys there are: what destinations hold now, and what was seen on its way to one."""
        self.plaintexts |= {value for value in values if KEY.fullmatch(value.encode())}
        for path in self.destinations:
            if path.exists():
                self.plaintexts |= {found.decode() for found in KEY.findall(path.read_bytes())}

    def _watch_processes(self, process: "subprocess.Popen[bytes]") -> None:
        while process.poll() is None:
            for pid in descendants(process.pid):
                self.look_at(pid)
            time.sleep(0.01)

    def look_at(self, pid: int) -> None:
        """Note the arguments and the environment of a process, as `ps` and root see them."""
        for name in ("cmdline", "environ"):
            try:
                found = Path(f"/proc/{pid}/{name}").read_bytes()
            except OSError:
                continue
            if found not in self._seen:
                self._seen.add(found)
                self.note("processes", found.replace(b"\0", b"\n").decode(errors="replace"))

    def leaks(self) -> dict[str, list[str]]:
        """Return, by file, which of the forbidden texts are in it; nothing, if all is well."""
        forms = {form: plaintext[-4:] for plaintext in self.plaintexts for form in _forms(plaintext)}
        found: dict[str, list[str]] = {}
        for path in sorted(self.folder.rglob("*")):
            if not path.is_file() or path.is_symlink() or path in self.destinations:
                continue
            data = path.read_bytes()
            here = sorted({hint for form, hint in forms.items() if form in data})
            here += ["something like a key"] if KEY.search(data) else []
            if here:
                found[str(path.relative_to(self.folder))] = here
        return found


def descendants(pid: int) -> list[int]:
    found = [pid]
    for each in found:
        try:
            children = Path(f"/proc/{each}/task/{each}/children").read_text()
        except OSError:
            continue
        found += [int(child) for child in children.split()]
    return found


def _forms(plaintext: str) -> Iterator[bytes]:
    """Yield the texts in which a key could lie somewhere: whole, without its prefix, and encoded."""
    data = plaintext.encode()
    random = data[9:]
    yield random
    yield random[::-1]
    yield random.hex().encode()
    yield quote(plaintext, safe="").encode()
    yield repr(plaintext)[10:-1].encode()
    for shift in range(3):  # wherever it begins within what is encoded
        encoded = base64.b64encode(b"x" * shift + random)
        yield encoded[4:-4]
        yield base64.urlsafe_b64encode(b"x" * shift + random)[4:-4]


def _read(master: int) -> Iterator[bytes]:
    while True:
        try:
            data = os.read(master, 65_536)
        except OSError:  # the last one on the other side has gone
            return
        if not data:
            return
        yield data
