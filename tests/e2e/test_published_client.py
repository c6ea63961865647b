"""The command-line client of the hosted service, as it is on PyPI, against this server."""

import json
import os
import re
import subprocess
import venv
from pathlib import Path

import pytest

from tests.e2e.conftest import Server, Start, clean_environment

VERSION = "0.1.13"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client in an environment of its own: it owns the import name `mushu`."""
    folder = tmp_path_factory.mktemp("published")
    venv.create(folder, with_pip=True)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", f"mushu-cli=={VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode != 0 and os.environ.get("CI") != "true":
        pytest.skip("no package index can be reached from here")
    assert done.returncode == 0, done.stderr
    return folder / "bin" / "mushu"


@pytest.fixture
def server(start: Start) -> Server:
    server = start()
    server.wait_until_up()
    return server


def login(server: Server, email: str) -> str:
    connection = server.connect()
    body = json.dumps({"email": email, "password": "correct horse battery"})
    connection.request("POST", "/auth/login", body, {"Content-Type": "application/json"})
    token: str = json.loads(connection.getresponse().read())["access_token"]
    connection.close()
    return token


def make_user(server: Server, email: str) -> str:
    """Return the id of a new user with a password."""
    done = server.flask("users", "create", "--email", email, "--password-stdin", stdin="correct horse battery\n")
    user_id: str = json.loads(done.stdout)["user_id"]
    return user_id


class Terminal:
    """Someone with the client, in a home of their own."""

    def __init__(self, client: Path, server: Server, home: Path) -> None:
        home.mkdir()
        services = {f"MUSHU_{name}_URL": f"http://127.0.0.1:{server.port}" for name in ("AUTH", "CORE")}
        self.environment = clean_environment(home, NO_COLOR="1", COLUMNS="200", **services)
        self.client, self.home = client, home

    def __call__(self, *arguments: str, answer: str = "") -> str:
        done = subprocess.run(
            [str(self.client), *arguments],
            input=answer,
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.mark.timeout(400)
def test_every_command_of_the_published_client_that_we_serve(client: Path, server: Server, tmp_path: Path) -> None:
    make_user(server, "ada@example.com")
    bob = make_user(server, "bob@example.com")
    ada, bobs = Terminal(client, server, tmp_path / "ada"), Terminal(client, server, tmp_path / "bob")
    token = login(server, "ada@example.com")

    assert "Logged in" in ada("auth", "login-manual", "--access-token", token, "--refresh-token", token)
    ada("auth", "status")
    assert "ada@example.com" in ada("auth", "user")
    ada("auth", "refresh")
    assert "ada@example.com" in ada("auth", "user"), "the swapped token works"

    created = ada("org", "create", "published")
    (org_id,) = set(re.findall(r"org_[a-z2-7]{12}", created + ada("org", "list")))
    assert "published" in ada("org", "show", org_id)
    assert "owner" in ada("org", "members", "list", org_id)
    ada("org", "members", "add", org_id, bob, "--role", "member")
    ada("org", "members", "update", org_id, bob, "admin")
    assert bob in ada("org", "members", "list", org_id)
    ada("org", "members", "me", org_id)
    ada("org", "members", "remove", org_id, bob, answer="y\n")

    ada("org", "invites", "create", org_id, "--email", "bob@example.com")
    link = ada("org", "invites", "create", org_id, "--link")
    (invitation,) = re.findall(r"miv_[0-9A-Za-z]{28}", link)
    listed = ada("org", "invites", "list", org_id)
    by_email, by_link = re.findall(r"inv_[a-z2-7]{12}", listed)
    bobs_token = login(server, "bob@example.com")
    bobs("auth", "login-manual", "--access-token", bobs_token, "--refresh-token", bobs_token)
    assert org_id in bobs("org", "invites", "accept", invitation)
    pending = re.findall(r"inv_[a-z2-7]{12}", ada("org", "invites", "list", org_id))
    assert len(pending) == 1
    ada("org", "invites", "cancel", org_id, pending[0])
    assert {by_email, by_link} > set(pending)

    assert "Logged out" in ada("auth", "logout")
    assert "Logged out" in bobs("auth", "logout")
    connection = server.connect()
    connection.request("GET", "/users/me", headers={"Authorization": f"Bearer {bobs_token}"})
    assert connection.getresponse().status == 401
    connection.close()
