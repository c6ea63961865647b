"""The command and the SDK on a system without POSIX: no modules for it, no owners, no modes, and files open to all."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Mushu, Served
from tests.cli.test_docs import run_the_page
from tests.cli.test_main import LEAVES
from tests.ran import Ran

#: A process in which Python has what it has on Windows. Libraries are loaded before, because they adapt to it by
#: themselves. Each line that it reads is one command, and each that it writes is what became of it.
WITHOUT_POSIX = """
import asyncio, contextlib, importlib, io, json, os, subprocess, sys, tempfile, webbrowser
import certifi, click._termui_impl, dotenv, httpx, platformdirs.unix

for name in ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
flags = "O_NONBLOCK O_CLOEXEC O_NOFOLLOW O_DIRECTORY O_PATH O_NOCTTY O_SYNC O_DSYNC"
calls = "getuid geteuid getgid getegid getgroups setsid fork forkpty chown fchown lchown fchmod mkfifo killpg openpty"
for name in f"{flags} {calls}".split():
    delattr(os, name)
def open_to_all(look):
    def seen(*path, **options):
        found = list(look(*path, **options))
        found[0] |= 0o666
        found[4] = 65534
        return os.stat_result(found)
    return seen
for name in ("stat", "lstat", "fstat"):
    setattr(os, name, open_to_all(getattr(os, name)))

import mushu, mushu.sdk, mushu.core.client
from mushu.cli import main
answers, questions = sys.stdout, sys.stdin
for question in questions:
    arguments, sys.stdin = json.loads(question)
    sys.stdin = io.StringIO(sys.stdin)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as error:
        code = main.run(arguments)
    print(json.dumps([code, out.getvalue(), error.getvalue()]), file=answers, flush=True)
"""


@pytest.fixture
def elsewhere() -> Iterator[Mushu]:
    """Run `mushu ARGUMENTS` on such a system."""
    command = [sys.executable, "-c", WITHOUT_POSIX]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def run(*arguments: str, stdin: str = "") -> Ran:
            print(json.dumps([arguments, stdin]), file=process.stdin, flush=True)
            return Ran(*json.loads(process.stdout.readline()))  # type: ignore[union-attr]

        yield run
        process.stdin.close()


@pytest.mark.fault
def test_every_command_has_help(elsewhere: Mushu) -> None:
    for leaf in ((), *LEAVES):
        ran = elsewhere(*leaf, "--help")
        assert ran.code == 0, ran.stderr
        assert ran.stdout.startswith(f"Usage: {' '.join(('mushu', *leaf))} ")


@pytest.mark.fault
def test_every_command_line_of_the_page_runs(served: Served, elsewhere: Mushu, apple_key: Path) -> None:
    apple_key.write_bytes(apple_key.read_bytes() + b"\r\n")
    run_the_page(served, elsewhere, apple_key, left_out=r" --to env:\S+( --with-url)?")


@pytest.mark.fault
def test_what_cannot_be_promised_is_said_at_the_login_and_a_destination_says_what_it_lacks(
    served: Served, elsewhere: Mushu, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.world.user("ada@example.com", with_password=True)
    login = ("auth", "login", "--url", served.url, "--email", "ada@example.com", "--password-stdin")
    assert elsewhere(*login, stdin=f"{served.world.password}\n").stderr.count("no file modes") == 1
    assert "no file modes" not in elsewhere("org", "list").stderr
    create = ("api-key", "create", "--name", "backend", "--org", "org_aaaaaaaaaaaa", "--to")
    ran = elsewhere(*create, "env:.env")
    assert ran.code == 2
    assert "The plugin of env: cannot be used on this machine" in ran.stderr
    assert not Path(".env").exists()
    assert "VAULT_ADDR" in elsewhere(*create, "vault:secret/a#B").stderr
