"""What the README promises of a machine with only Python, git and bash: a fresh clone, an empty folder, an empty HOME.

Needs a package index, as a user's first start does: skipped without one, but not in CI.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests.e2e.conftest import ROOT, Server, clean_environment, free_port, leave_out


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone-home")
    probe = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder / "probe"), "click"]
    reachable = subprocess.run(probe, capture_output=True, timeout=120, check=False).returncode == 0
    if not reachable:
        leave_out("no package index can be reached from here")
    return folder


class Watch(threading.Thread):
    """Collects the command lines and environments of a process and all its descendants while it lives."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.seen: dict[str, set[bytes]] = {"cmdline": set(), "environ": set()}
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.02):
            for pid in self.server.pids:
                for name, found in self.seen.items():
                    try:
                        found.add(Path(f"/proc/{pid}/{name}").read_bytes())
                    except OSError:
                        continue


@pytest.fixture(scope="module")
def clone(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty") / "mushu"
    # What is committed, and nothing that lies about here.
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True, capture_output=True)
    return folder


def start(clone: Path, home: Path) -> Server:
    port = free_port()
    environment = clean_environment(home, TMPDIR=str(home / "tmp"), MUSHU_PORT=str(port))
    (home / "tmp").mkdir(exist_ok=True)
    output = home / f"output-{port}"
    with output.open("w") as file:
        process = subprocess.Popen(
            [str(clone / "script" / "up")],
            env=environment, cwd=home, stdout=file, stderr=subprocess.STDOUT, text=True, umask=0,
        )  # fmt: skip
    return Server(process, port, clone / "instance", output, environment)


@pytest.fixture(scope="module")
def first(clone: Path, home: Path) -> Iterator[tuple[Server, Watch]]:
    server = start(clone, home)
    watch = Watch(server)
    watch.start()
    server.wait_until_up(seconds=280)
    watch.stopped.set()
    watch.join()
    yield server, watch
    if server.process.poll() is None:
        server.process.terminate()
        server.process.wait(timeout=20)


@pytest.mark.timeout(300)
def test_the_key_works_and_is_shown_nowhere_else(first: tuple[Server, Watch], clone: Path, home: Path) -> None:
    server, watch = first
    key = dotenv_values(clone / "instance" / "first-key.env")["MUSHU_API_KEY"] or ""
    assert (clone / "instance" / "first-key.env").stat().st_mode & 0o777 == 0o600
    assert server.get("/orgs", {"X-API-Key": key}) == 200
    listed = server.flask_in(clone, "orgs", "list", "--json").stdout
    org_id = listed.partition('"org_id": "')[2].partition('"')[0]
    for headers in ({"Authorization": f"ApiKey {key}"}, {"X-API-Key": key}):
        assert server.get(f"/orgs/{org_id}", headers) == 200

    body = key.removeprefix("msk_live_").encode()
    assert len(body) == 28
    assert len(watch.seen["cmdline"]) > 3, "the watch saw the processes"
    assert not [text for found in watch.seen.values() for text in found if body in text]
    holders = [
        path
        for base in (clone, home)
        for path in base.rglob("*")
        if path.is_file() and not path.is_symlink() and body in path.read_bytes()
    ]
    assert holders == [clone / "instance" / "first-key.env"]


def test_the_checkout_is_as_clean_as_it_was(first: tuple[Server, Watch], clone: Path) -> None:
    found = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert found.stdout == ""


def test_secrets_and_the_database_are_for_their_account_only(first: tuple[Server, Watch], clone: Path) -> None:
    instance = clone / "instance"
    for path in instance.iterdir():
        if path.name != "README.md":
            assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.fault
def test_nobody_else_can_write_to_what_was_made(first: tuple[Server, Watch], clone: Path) -> None:
    """Not to the programs and modules of .venv either; it was started with umask 000."""
    open_paths = [path for path in clone.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o022]
    assert (clone / ".venv" / "bin" / "mushu-server").exists()
    assert open_paths == []


def test_a_second_run_installs_and_mints_nothing(first: tuple[Server, Watch], clone: Path, home: Path) -> None:
    server, _ = first
    assert server.stop(signal.SIGINT) == 0
    installed = {path: path.stat().st_mtime_ns for path in (clone / ".venv").glob("**/*.dist-info")}
    key = (clone / "instance" / "first-key.env").read_bytes()
    began = time.monotonic()
    again = start(clone, home)
    try:
        again.wait_until_up()
        seconds = time.monotonic() - began
        said = again.output.read_text()
        assert "Installing" not in said
        assert "first key" not in said
        assert {path: path.stat().st_mtime_ns for path in (clone / ".venv").glob("**/*.dist-info")} == installed
        assert (clone / "instance" / "first-key.env").read_bytes() == key
        print(f"a second run was up after {seconds:.2f} s")
    finally:
        assert again.stop() == 0
