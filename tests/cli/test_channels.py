"""No side door out of the `mushu` command: its libraries' logs, TLS key logs, core dumps, interpreter options."""

import subprocess
import sys
from pathlib import Path

import pytest

from mushu import process
from mushu.cli import main
from tests.cli.certificates import certificates
from tests.cli.conftest import ORG, TOKEN, Mushu, log_in, login_answer
from tests.cli.deliveries import Authority
from tests.cli.stub import Stub, serving

CREATE = ("api-key", "create", "--name", "backend", "--org", ORG)


def test_httpx_and_httpcore_log_neither_a_token_nor_a_key_nor_a_password_however_much_they_log(
    mushu: Mushu, asking: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    for logger in (None, "httpx", "httpcore"):  # a server that was made in this process has silenced these
        caplog.set_level(1, logger=logger)
    authority = Authority(asking)
    asking.tell("POST", "/auth/login", login_answer(TOKEN))
    mushu("auth", "login", "--email", "a@b.c", "--password-stdin", stdin="correct horse battery\n").ok()
    assert mushu(*CREATE, "--to", "env:.env").code == 0
    assert {"httpcore.http11", "httpx"} <= {record.name for record in caplog.records}
    logged = caplog.text + "".join(repr(vars(record)) for record in caplog.records)
    for secret in (TOKEN, authority.secret.reveal(), "correct horse battery"):
        assert secret not in logged


def test_no_log_of_tls_keys_is_written(mushu: Mushu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With it, whoever has recorded the connection could read the token and the key."""
    monkeypatch.setenv(process.KEY_LOG_VARIABLE, str(tmp_path / "tls-keys"))
    with serving("own") as stub:
        log_in(stub.url)
        stub.tell("GET", "/orgs", {"orgs": []})
        mushu("org", "list", "--url", stub.url, "--ca", str(certificates() / "own.pem")).ok()
        assert len(stub.asked) == 1
    assert not (tmp_path / "tls-keys").exists()


def test_the_process_is_hardened_before_a_command_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    monkeypatch.setattr(process, "harden", lambda: order.append("hardened"))
    monkeypatch.setattr(main.cli, "main", lambda *_arguments, **_named: order.append("command"))
    main.run([])
    assert order == ["hardened", "command"]


def test_a_run_of_the_command_can_leave_no_core() -> None:
    script = (
        "import resource, sys; from mushu.cli import main; code = main.run(sys.argv[1:]); "
        "print(resource.getrlimit(resource.RLIMIT_CORE)); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script, "config", "show"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "(0, 0)"


@pytest.mark.parametrize("option", ["-Xdev", "-v"])
def test_no_option_of_the_interpreter_makes_it_talk(asking: Stub, option: str) -> None:
    """Nor a plugin that fails; and what it shows of an own fault has no locals in it."""
    authority = Authority(asking)
    done = subprocess.run(
        [sys.executable, option, "-m", "mushu.cli.main", *CREATE, "--to", "env:.env"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert authority.secret.reveal() in Path(".env").read_text()
    assert authority.secret.reveal() not in done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize("uri", ["env://ada:hunter22@host/.env", "nosuch://hunter22@host/x"])
def test_a_password_in_a_destination_is_refused_and_not_repeated(mushu: Mushu, asking: Stub, uri: str) -> None:
    ran = mushu(*CREATE, "--to", uri).fails("There is a credential in this URI", code=2)
    assert "hunter22" not in ran.stdout + ran.stderr
    assert asking.asked == []


@pytest.mark.parametrize("way", ["option", "variable", "config"])
def test_a_password_in_the_address_of_the_server_is_refused_and_not_repeated(
    mushu: Mushu, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    url = "https://ada:hunter22@mushu.example.com"
    if way == "variable":
        monkeypatch.setenv("MUSHU_URL", url)
    commands = {"option": ("org", "list", "--url", url), "config": ("config", "set", "url", url)}
    ran = mushu(*commands.get(way, ("org", "list")))
    assert ran.code in (1, 2)
    assert "looks like https://mushu.example.com" in ran.stderr
    assert "hunter22" not in ran.stdout + ran.stderr
