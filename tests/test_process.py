"""A process that may hold a key leaves no copy of its memory, and a program that it starts learns no secret.

Hardening is tried in children: it is for good. Every place that starts a program is looked at.
"""

import ast
import ctypes
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mushu import process
from mushu.keyformat import Prefix, generate
from mushu.process import child_environment
from mushu.testing.processes import FINISHED, fork, wait_for

_PR_GET_DUMPABLE = 3
_NOBODY = 65534

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")


def in_child(work: Callable[[], bool]) -> bool:
    """Tell what `work` does in a process of its own; one that raises fails the test."""
    ended = wait_for(fork(lambda: int(not work())))
    assert ended in (FINISHED, 1)
    return ended == FINISHED


def is_dumpable() -> bool:
    return bool(ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0))


def test_a_hardened_process_may_dump_no_core() -> None:
    def work() -> bool:
        process.harden()
        return resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)

    assert in_child(work)


@on_linux
def test_a_hardened_process_is_not_dumpable_and_neither_are_its_forks() -> None:
    def work() -> bool:
        process.harden()
        process.harden()
        return not is_dumpable() and in_child(lambda: not is_dumpable())

    assert in_child(work)


@on_linux
def test_an_abort_leaves_no_core(tmp_path: Path) -> None:
    """Neither a file nor one that is piped to a program: the kernel says in the status whether it dumped."""

    def aborted() -> int:
        os.chdir(tmp_path)
        process.harden()
        signal.signal(signal.SIGABRT, signal.SIG_DFL)
        os.abort()

    _, status = os.waitpid(fork(aborted), 0)
    assert os.WTERMSIG(status) == signal.SIGABRT
    assert not os.WCOREDUMP(status)
    assert list(tmp_path.iterdir()) == []


@on_linux
def test_the_same_user_cannot_look_into_a_hardened_process() -> None:
    ready, told = os.pipe()

    def held() -> int:
        _be_nobody()
        process.harden()
        os.write(told, b"!")
        signal.pause()
        return FINISHED

    def sees_nothing(pid: int) -> bool:
        _be_nobody()
        seen = []
        for name in ("mem", "environ", "maps"):
            with suppress(PermissionError):
                os.close(os.open(f"/proc/{pid}/{name}", os.O_RDONLY))
                seen.append(name)
        return seen == []

    child = fork(held)
    try:
        assert os.read(ready, 1) == b"!"
        assert in_child(lambda: sees_nothing(child))
    finally:
        os.kill(child, signal.SIGKILL)
        wait_for(child)
        os.close(ready)
        os.close(told)


def _be_nobody() -> None:
    """Give up root, which may look into everything; another user's tests are a user's already."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)


@pytest.mark.fault
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o177])
def test_a_process_can_make_files_for_its_account_only(tmp_path: Path, umask: int) -> None:
    def work() -> bool:
        os.umask(umask)
        process.keep_files_private()
        (tmp_path / "made").touch(0o777)
        return (tmp_path / "made").stat().st_mode & 0o777 == 0o700 & ~umask

    assert in_child(work)


def test_a_log_of_tls_keys_is_not_asked_for_any_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(process.KEY_LOG_VARIABLE, str(tmp_path / "keys"))
    script = (
        "import os, ssl; from mushu import process; process.harden(); "
        f"assert {process.KEY_LOG_VARIABLE!r} not in os.environ; print(ssl.create_default_context().keylog_filename)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"
    assert list(tmp_path.iterdir()) == []


@on_linux
def test_elsewhere_than_on_linux_it_does_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> bool:
        before = is_dumpable()  # not so, where a command was tested in this process before
        monkeypatch.setattr(sys, "platform", "plan9")
        monkeypatch.setitem(sys.modules, "resource", None)
        process.harden()
        return is_dumpable() == before

    assert in_child(work)


def test_a_system_that_refuses_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> bool:
        def refuse(*_: object) -> None:
            raise OSError(1, "no")

        monkeypatch.setattr(resource, "setrlimit", refuse)
        monkeypatch.setattr(ctypes, "CDLL", refuse)
        process.harden()
        return True

    assert in_child(work)


ROOT = Path(__file__).resolve().parents[1]
#: Below these, what starts another program.
STARTERS = {
    "subprocess": {"run", "call", "check_call", "check_output", "Popen", "getoutput", "getstatusoutput"},
    "os": {"system", "popen", "posix_spawn", "posix_spawnp"},
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell"},
    "click": {"launch", "edit", "echo_via_pager"},
    "webbrowser": {"open", "open_new", "open_new_tab"},
    "pty": {"spawn"},
}
SECRETS = {
    "MUSHU_API_KEY": "anything", "MUSHU_DATABASE_URL": "sqlite:////srv/x.db",
    "MUSHU_SMTP_URL": "smtp://mail.example.com", "MUSHU_VAULT_TOKEN": "s.1", "VAULT_TOKEN": "hvs.1",
    "BAO_SECRET_ID": "1", "AWS_SECRET_ACCESS_KEY": "1", "PGPASSWORD": "hunter2", "STRIPE_API_KEY": "1",
    "DB_PASS": "hunter2", "SSLKEYLOGFILE": "/tmp/keys", "DATABASE_URL": "postgresql://app:hunter2@db/app",
    "HTTPS_PROXY": "http://me:hunter2@proxy:3128",
}  # fmt: skip
NEEDED = {
    "HOME": "/root", "LANG": "C.UTF-8", "PWD": "/srv/app", "OLDPWD": "/srv", "DISPLAY": ":0",
    "XAUTHORITY": "/root/.Xauthority", "SSH_AUTH_SOCK": "/run/agent",
    "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/bus", "HTTP_PROXY": "http://proxy:3128", "KEYBOARD": "us",
}  # fmt: skip


@pytest.mark.fault
@pytest.mark.parametrize("prefix", list(Prefix))
def test_a_child_learns_no_credential_under_whatever_name(prefix: Prefix) -> None:
    credential = generate(prefix).reveal()
    hidden = {
        "HARMLESS": credential,
        "LONGER": f"--header=X-API-Key:{credential};",
        "URL": f"https://x/?k={credential}",
    }
    assert child_environment(NEEDED | hidden) == NEEDED


@pytest.mark.fault
def test_a_child_learns_no_secret() -> None:
    assert child_environment(NEEDED | SECRETS) == NEEDED
    assert child_environment({"vault_token": "s.1", "https_proxy": SECRETS["HTTPS_PROXY"]}) == {}


@pytest.mark.fault
def test_the_current_folder_takes_no_part_in_the_path_of_a_child() -> None:
    assert child_environment({"PATH": ":/usr/bin:.:bin:/bin:"})["PATH"] == "/usr/bin:/bin"


@pytest.mark.fault
def test_every_program_that_is_started_is_given_its_environment() -> None:
    started = [(path, call) for path in _sources() for call in _starts(ast.parse(path.read_text()))]
    assert len(started) >= 4, "git, the decoder of pictures, the browser, the generator of the SDK"
    for path, call in started:
        given = {keyword.arg for keyword in call.keywords}
        assert "env" in given, f"{path}, line {call.lineno}"


def _sources() -> Iterator[Path]:
    for base in ("mushu", "plugins", "script", "migrations"):
        yield from (ROOT / base).rglob("*.py")
    yield ROOT / "wsgi.py"


def _starts(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            module, name = node.func.value.id, node.func.attr
            if name in STARTERS.get(module, ()) or (module == "os" and name.startswith(("exec", "spawn"))):
                yield node
