"""The command as a person runs it, in this process; a stub for a server that a test invents, and a real one."""

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from mushu.cli import config, main
from mushu.cli.client import api
from mushu.cli.credential_store import StoredLogin, remember
from mushu.destination import registry, safe
from mushu.secret import Secret
from mushu.server.config import Settings
from tests.cli.stub import Stub, serving
from tests.e2e.conftest import free_port
from tests.ran import Ran
from tests.server.conftest import World, app, context, core, database_template, settings_on, world

if TYPE_CHECKING:
    from tests.cli.deliveries import Desk, Drawer

__all__ = ["app", "context", "core", "database_template", "world"]

#: Right in form and checksum, and a token of nobody.
TOKEN = "mct_0000000000000000000000000000"
ORG = "org_aaaaaaaaaaaa"


Mushu = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*os.environ]:
        if name.startswith(("MUSHU_", "XDG_", "SSL_CERT")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    for name in ("NO_COLOR", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)


@pytest.fixture
def mushu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mushu:
    """Run `mushu ARGUMENTS` in this process."""

    def run(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = main.run(list(arguments))
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def apart() -> Mushu:
    """Run `mushu ARGUMENTS` in a process of its own."""

    def run(*arguments: str, stdin: str = "", environ: Mapping[str, str] | None = None) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "mushu.cli.main", *arguments],
            input=stdin, capture_output=True, text=True, timeout=60, env={**os.environ, **(environ or {})},
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving() as served:
        yield served


@pytest.fixture
def asking(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Stub:
    """The stub, being the server that every command asks, with a login at it."""
    monkeypatch.setenv("MUSHU_URL", stub.url)
    log_in(stub.url)
    return stub


@pytest.fixture
def drawer(monkeypatch: pytest.MonkeyPatch) -> Iterator["Drawer"]:
    """The destination `drawer:desk`, whose plugin is installed for this test; nobody waits for it."""
    from tests.cli.deliveries import DRAWERS, Drawer

    ours = EntryPoint("drawer", "tests.cli.deliveries:DrawerDestination", "mushu.destinations")
    found = EntryPoints([ours, *entry_points(group="mushu.destinations")])
    monkeypatch.setattr(registry, "entry_points", lambda **wanted: found.select(**wanted))
    monkeypatch.setattr("mushu.cli.client.new_key.time.sleep", lambda seconds: None)
    monkeypatch.setattr(safe, "_PAUSES", (0.0, 0.0))
    yield DRAWERS.setdefault("desk", Drawer())
    DRAWERS.clear()


@pytest.fixture
def desk(mushu: Mushu, asking: Stub, drawer: "Drawer") -> "Desk":
    """A delivery to the destination `drawer:desk`, by a server that takes part in it."""
    from tests.cli.deliveries import Authority, Desk

    return Desk(mushu, Authority(asking), drawer)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried at once."""
    monkeypatch.setattr(api, "_PAUSES", (0.0, 0.0))


@pytest.fixture
def apple_key(tmp_path: Path) -> Path:
    """A private key as Apple hands one out."""
    path = tmp_path / "AuthKey_ABCDE12345.p8"
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return path


@pytest.fixture
def config_folder() -> Path:
    return config.folder()


@dataclass(frozen=True)
class Served:
    """A real server on a port of loopback."""

    url: str
    app: Flask
    world: World


class _Quiet(WSGIRequestHandler):
    def log_request(self, *args: Any) -> None:
        pass


@pytest.fixture
def settings(tmp_path: Path, database_template: str | Path) -> Settings:
    """Settings of a server that knows its own address: it signs addresses of files."""
    return replace(settings_on(tmp_path / "instance", database_template), public_url=f"http://127.0.0.1:{free_port()}")


@pytest.fixture
def served(app: Flask, world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    port = urlsplit(settings.public_url).port or 0
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("MUSHU_URL", url)
    yield Served(url, app, world)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def ada(served: Served, mushu: Mushu) -> str:
    """The id of a user who is logged in to the real server."""
    user = served.world.user("ada@example.com", with_password=True)
    mushu("auth", "login", "--email", "ada@example.com", "--password-stdin", stdin=f"{served.world.password}\n").ok()
    return user.id


@pytest.fixture
def acme(ada: str, mushu: Mushu) -> str:
    """The id of an organization that the logged-in user owns."""
    org_id: str = mushu("org", "create", "acme").json["org_id"]
    return org_id


def log_in(url: str, token: str = TOKEN, email: str = "ada@example.com") -> None:
    remember(url, StoredLogin(Secret(token), "usr_aaaaaaaaaaaa", email, "2026-01-15T22:30:00Z"))


def login_answer(token: str = TOKEN, email: str = "ada@example.com") -> dict[str, Any]:
    return {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": 43_200,
        "expires_at": "2026-01-15T22:30:00Z",
        "user": {"user_id": "usr_aaaaaaaaaaaa", "email": email},
    }
