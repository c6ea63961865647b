"""A server as a user runs it: processes of its own, on a port of loopback, with an instance folder of its own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

import pytest
from dotenv import dotenv_values

from tests.server.conftest import CHEAP_ARGON2

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[2]
#: Chromium finds it on this machine; a page of it is of no secure context, as of any host without TLS.
NAMED_HOST = "mushu.example"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment(home: Path, **extra: str) -> dict[str, str]:
    """Return an environment with nothing of this session's in it but the path to programs and pip's settings."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
    kept |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return kept | {"HOME": str(home)} | extra


@dataclass
class Server:
    """One running `script/up`."""

    process: subprocess.Popen[str]
    port: int
    instance: Path
    output: Path
    environment: dict[str, str]

    @property
    def pids(self) -> list[int]:
        """The ids of the process and of all its descendants."""
        found = [self.process.pid]
        for pid in found:
            found += [int(child) for child in _proc(pid, f"task/{pid}/children").split()]
        return found

    @property
    def workers(self) -> list[int]:
        """The ids of the processes that answer requests."""
        return [pid for pid in self.pids[1:] if "resource_tracker" not in _proc(pid, "cmdline")]

    @property
    def key(self) -> str:
        """The first key, which script/up put into a file; empty, if it is not there."""
        return dotenv_values(self.instance / "first-key.env").get("MUSHU_API_KEY") or ""

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=10)

    def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Return the status and the document of an answer; a body goes along as JSON."""
        connection = self.connect()
        try:
            kind = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, json.dumps(body) if body is not None else None, kind | (headers or {}))
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def get(self, path: str, headers: dict[str, str] | None = None) -> int:
        connection = self.connect()
        try:
            return status(connection, path, headers)
        finally:
            connection.close()

    def flask(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flask", *arguments],
            input=stdin,
            env=self.environment,
            cwd=self.instance.parent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def flask_in(self, clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the `flask` that a clone has installed for itself."""
        command = [str(clone / ".venv" / "bin" / "flask"), *arguments]
        return subprocess.run(command, env=self.environment, cwd=clone, capture_output=True, text=True, timeout=60)

    def wait_until_up(self, seconds: float = 60) -> Self:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process.poll() is None, self.output.read_text()
            try:
                if self.get("/health") == 200:
                    return self
            except OSError:
                time.sleep(0.05)
        pytest.fail(f"the server was not up in time:\n{self.output.read_text()}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the server with a signal and return its exit status; its workers must be gone with it."""
        pids = self.pids
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        deadline = time.monotonic() + 5
        while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        return code


def _proc(pid: int, name: str) -> str:
    """Return what the kernel says of a process; nothing, if it just ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""


def status(connection: HTTPConnection, path: str, headers: dict[str, str] | None = None) -> int:
    connection.request("GET", path, headers=headers or {})
    response = connection.getresponse()
    response.read()
    return response.status


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server on an instance folder of this test; started again, it finds what was there."""
    with _starting(tmp_path) as start_server:
        yield start_server


@pytest.fixture(scope="module")
def start_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start a server that the tests of a module share."""
    with _starting(tmp_path_factory.mktemp("once")) as start_server:
        yield start_server


@contextmanager
def _starting(folder: Path) -> Iterator[Start]:
    running: list[Server] = []

    def start_server(*arguments: str, filled_by: str = "", **environ: str) -> Server:
        """Start `script/up`; a new server may be filled before, by a module that is told a folder for destinations."""
        instance, home, port = folder / "instance", folder / "home", free_port()
        home.mkdir(exist_ok=True)
        cheap = {f"MUSHU_{name.upper()}": str(value) for name, value in CHEAP_ARGON2.items()}
        environment = clean_environment(
            home, MUSHU_INSTANCE_PATH=str(instance), MUSHU_PORT=str(port), **cheap, **environ
        )
        if filled_by:
            fill = [sys.executable, "-m", filled_by, str(folder / "places")]
            subprocess.run(fill, env=environment, cwd=ROOT, check=True)
        output = folder / f"output-{len(running)}"
        with output.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "mushu.server.up", *arguments],
                env=environment,
                cwd=folder,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )
        server = Server(process, port, instance, output, environment)
        running.append(server)
        return server

    try:
        yield start_server
    finally:
        for server in running:
            if server.process.poll() is None:
                server.process.terminate()
                server.process.wait(timeout=20)


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    """A real browser, without a window; a module that asks for it is skipped where there is none (`CHROMIUM`)."""
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    quiet += [f"--host-resolver-rules=MAP {NAMED_HOST} 127.0.0.1"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield browser
        browser.close()


def leave_out(reason: str) -> NoReturn:
    """Skip the test on a user's machine; in CI nothing is skipped."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and in CI nothing is skipped")
    pytest.skip(reason)
