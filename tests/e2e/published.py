"""The clients of the hosted service as they are on PyPI, each in an environment of its own, and people who use them."""

import json
import subprocess
import venv
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Server, clean_environment, leave_out

CLI = "mushu-cli==0.1.13"
SDK = "mushu-sdk==0.2.20"
PASSWORD = "correct horse battery"
SERVICES = ("AUTH", "CORE", "NOTIFY", "MEDIA", "IMAGES")


def installed(folder: Path, package: str) -> Path:
    """Install a package beside nothing else, since each owns the import name `mushu`, and return where programs lie."""
    venv.create(folder, with_pip=True)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", package]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode != 0:
        leave_out(f"no package index can be reached from here: {done.stderr}")
    return folder / "bin"


def make_user(server: Server, email: str) -> str:
    """Return the id of a new user with a password."""
    done = server.flask("users", "create", "--email", email, "--password-stdin", stdin=f"{PASSWORD}\n")
    user_id: str = json.loads(done.stdout)["user_id"]
    return user_id


def login(server: Server, email: str) -> str:
    token: str = ask(server, "POST", "/auth/login", {"email": email, "password": PASSWORD})["access_token"]
    return token


def ask(server: Server, method: str, path: str, body: dict[str, Any] | None = None, token: str = "") -> Any:
    """Return the document of a success."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    status, document = server.ask(method, path, body, headers)
    assert status == 200, document
    return document


class Terminal:
    """Someone with the client, in a home of their own."""

    def __init__(self, client: Path, server: Server, home: Path) -> None:
        home.mkdir()
        services = {f"MUSHU_{name}_URL": f"http://127.0.0.1:{server.port}" for name in SERVICES}
        self.environment = clean_environment(home, NO_COLOR="1", COLUMNS="200", **services)
        self.client, self.home = client, home

    def __call__(self, *arguments: str, answer: str = "") -> str:
        done = self.run(*arguments, answer=answer)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def once_answered(self, *arguments: str) -> str:
        """Run a command that is answered well and then falls over the client's own settings, as some of it does."""
        done = self.run(*arguments)
        assert "'EffectiveConfig' object has no attribute" in done.stdout + done.stderr, f"{arguments}: {done.stdout}"
        return done.stdout

    def run(self, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.client), *arguments],
            input=answer,
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
