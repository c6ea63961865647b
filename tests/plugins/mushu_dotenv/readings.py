"""What the real readers of `.env` files make of many files at once: one process of each for all of them.

Nothing here models a reader; `lacking` says which of them a machine has not.
"""

import ctypes
import json
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

SOURCES = Path(__file__).parent / "readers"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What a shell sets by itself.
_OF_THE_SHELL = {"_", "PWD", "OLDPWD", "SHLVL"}
_EMPTY_ENVIRONMENT = {"PATH": "/nonexistent"}
#: Seconds for all files: a reader that waits for something is a failure, not a test that never ends.
_LONGEST = 60


@dataclass(frozen=True)
class Reading:
    """What one reader makes of one file."""

    #: What it complains of; empty where it does not.
    complaint: str
    values: dict[str, str | None] = field(default_factory=dict)


def _python(paths: Sequence[Path]) -> list[Reading]:
    return [_python_one(path) for path in paths]


def _python_one(path: Path) -> Reading:
    try:
        with path.open(encoding="utf-8") as stream:
            broken = any(binding.error for binding in parse_stream(stream))
        return Reading("it does not parse" if broken else "", dict(dotenv_values(path)))
    except UnicodeDecodeError:
        return Reading("not UTF-8")


def _shell(program: str) -> Callable[[Sequence[Path]], list[Reading]]:
    """Each file is sourced by a child of one shell, as a script does: `set -a; . file`."""

    def read(paths: Sequence[Path]) -> list[Reading]:
        with tempfile.TemporaryDirectory() as folder:
            script = (
                'n=0; for f in "$@"; do n=$((n+1)); '
                f'( exec >/dev/null 2>"{folder}/$n.err" </dev/null; set -a; . "$f"; '
                f'exec >"{folder}/$n.out"; PATH=/nonexistent; exec /usr/bin/env -0 ); done'
            )
            subprocess.run(
                [program, "-c", script, program, *map(str, paths)],
                env=_EMPTY_ENVIRONMENT,
                cwd=folder,
                check=False,
                timeout=_LONGEST,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            return [_shell_reading(Path(folder), number) for number in range(1, len(paths) + 1)]

    return read


def _shell_reading(folder: Path, number: int) -> Reading:
    complaint = (folder / f"{number}.err").read_text(errors="replace")
    out = folder / f"{number}.out"
    told = out.read_bytes() if out.exists() else b""
    pairs = told.decode(errors="surrogateescape").rpartition("\0")[0].split("\0")
    values: dict[str, str | None] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name and name not in _OF_THE_SHELL | {"PATH"}:
            values[name] = value
    if not pairs[0]:
        complaint = complaint or "it ended before its last line"
    return Reading(complaint, values)


@cache
def systemd_library() -> str | None:
    """Return the path of systemd's own code, or None; looked for once, because that goes through all of /usr/lib."""
    found = sorted(map(str, Path("/usr/lib").glob("**/systemd/libsystemd-shared-*.so")))
    return found[-1] if found else None


def _systemd(paths: Sequence[Path]) -> list[Reading]:
    library = ctypes.CDLL(systemd_library() or "")
    return [_systemd_one(library, path) for path in paths]


def _systemd_one(library: ctypes.CDLL, path: Path) -> Reading:
    """As a unit does, which ignores a name that is none, and says so in the journal."""
    pairs = ctypes.POINTER(ctypes.c_char_p)()
    status = library.load_env_file(None, os.fsencode(path), ctypes.byref(pairs))
    if status < 0:
        return Reading(os.strerror(-status))
    if ctypes.cast(pairs, ctypes.c_void_p).value is None:
        return Reading("", {})
    values: dict[str, str | None] = {}
    ignored = ""
    number = 0
    while (pair := pairs[number]) is not None:
        name, _, value = pair.decode(errors="surrogateescape").partition("=")
        if _NAME.fullmatch(name):
            values[name] = value
        else:
            ignored = f"ignores {name}"
        number += 1
    return Reading(ignored, values)


_NODE = """
process.stdout.write(JSON.stringify(process.argv.slice(1).map((path) => {
  for (const name of Object.keys(process.env)) delete process.env[name];
  try { process.loadEnvFile(path); return { error: "", values: { ...process.env } }; }
  catch (error) { return { error: String(error), values: {} }; }
})));
"""


def _json(command: Sequence[str], paths: Sequence[Path]) -> list[Reading]:
    done = subprocess.run(
        [*command, *map(str, paths)],
        env=_EMPTY_ENVIRONMENT,
        check=True,
        capture_output=True,
        timeout=_LONGEST,
        stdin=subprocess.DEVNULL,
    )
    return [Reading(found["error"], found["values"] or {}) for found in json.loads(done.stdout)]


def _node(paths: Sequence[Path]) -> list[Reading]:
    return _json([shutil.which("node") or "", "--no-warnings", "-e", _NODE, "--"], paths)


def _go(parser: str) -> Callable[[Sequence[Path]], list[Reading]]:
    return lambda paths: _json([str(built()), parser], paths)


@cache
def built() -> Path:
    """Return docker's and compose's parsers as a program, built once and kept in Go's own cache folder."""
    # A test has a home of its own, in which Go would have to fetch and build everything anew.
    environment = {**os.environ, "HOME": pwd.getpwuid(os.geteuid()).pw_dir}
    asked = subprocess.run(["go", "env", "GOCACHE"], env=environment, capture_output=True, text=True, check=True)
    program = Path(asked.stdout.strip()) / "mushu-test-readers" / "readers"
    subprocess.run(["go", "build", "-o", program, "."], cwd=SOURCES, env=environment, check=True, capture_output=True)
    return program


READERS: dict[str, Callable[[Sequence[Path]], list[Reading]]] = {
    "python-dotenv": _python,
    "bash": _shell("/usr/bin/bash"),
    "dash": _shell("/usr/bin/dash"),
    "systemd": _systemd,
    "Node": _node,
    "docker": _go("docker"),
    "compose": _go("compose"),
}


def lacking() -> str:
    """Return what this machine lacks of the readers, as a reason to skip; empty where it has them all."""
    lacks = [program for program in ("bash", "dash", "node", "go") if shutil.which(program) is None]
    return ", ".join(lacks + ([] if systemd_library() else ["libsystemd-shared"]))


def readings(paths: Sequence[Path]) -> dict[str, list[Reading]]:
    """Return what each reader makes of each of the files."""
    return {name: read(paths) for name, read in READERS.items()}
