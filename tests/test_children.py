"""A program that is started learns no secret; every place that starts one is looked at."""

import ast
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mushu.children import child_environment, clean_environment
from mushu.keyformat import Prefix, generate

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
    "MUSHU_API_KEY": "anything",
    "MUSHU_DATABASE_URL": "sqlite:////srv/x.db",
    "MUSHU_SMTP_URL": "smtp://mail.example.com",
    "MUSHU_VAULT_TOKEN": "s.1",
    "VAULT_TOKEN": "hvs.1",
    "BAO_SECRET_ID": "1",
    "AWS_SECRET_ACCESS_KEY": "1",
    "PGPASSWORD": "hunter2",
    "STRIPE_API_KEY": "1",
    "DB_PASS": "hunter2",
    "SSLKEYLOGFILE": "/tmp/keys",
    "DATABASE_URL": "postgresql://app:hunter2@db/app",
    "HTTPS_PROXY": "http://me:hunter2@proxy:3128",
}
NEEDED = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PWD": "/srv/app",
    "OLDPWD": "/srv",
    "DISPLAY": ":0",
    "XAUTHORITY": "/root/.Xauthority",
    "SSH_AUTH_SOCK": "/run/agent",
    "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/bus",
    "HTTP_PROXY": "http://proxy:3128",
    "KEYBOARD": "us",
}


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
def test_a_while_without_secrets_ends_as_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSHU_API_KEY", "msk")
    before = dict(os.environ)
    with pytest.raises(KeyError), clean_environment():
        assert "MUSHU_API_KEY" not in os.environ
        told = subprocess.run(["/bin/sh", "-c", "echo $MUSHU_API_KEY"], capture_output=True, check=True)
        assert told.stdout == b"\n"
        os.environ["NEW"] = "1"
        raise KeyError
    assert dict(os.environ) == before


@pytest.mark.fault
def test_every_program_that_is_started_is_given_its_environment() -> None:
    started = [(path, call) for path in _sources() for call in _starts(ast.parse(path.read_text()))]
    assert len(started) >= 4, "git, the decoder of pictures, the browser, the generator of the SDK"
    for path, call in started:
        given = {keyword.arg for keyword in call.keywords}
        source = path.read_text()
        assert "env" in given or "with clean_environment():" in source, f"{path}, line {call.lineno}"


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
