"""`script/up`, without the installing: the first run, the second, the end, and being cut off."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Server, Start, clean_environment, status
from tests.long import times

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def server(start_once: Start) -> Server:
    """The server of those that need one to be up, and no first run of their own."""
    return start_once(MUSHU_WORKERS="3").wait_until_up()


def keys(server_output: str) -> list[str]:
    return [line for line in server_output.splitlines() if line.startswith("first key")]


def test_the_first_run_mints_a_key_into_a_file_and_the_second_mints_nothing(start: Start) -> None:
    server = start().wait_until_up()
    key, said = server.key, server.output.read_text()
    assert len(keys(said)) == 1
    assert f"env:{server.instance}/first-key.env#MUSHU_API_KEY" in said
    assert f"http://127.0.0.1:{server.port}/password/mpl_" in said
    assert key not in said
    del server.environment["MUSHU_PORT"]  # as in the shell of somebody who gave --port to the server
    assert f"http://127.0.0.1:{server.port}/password/mpl_" in server.flask("users", "reset", "owner@localhost").stdout
    for headers in ({"Authorization": f"ApiKey {key}"}, {"X-API-Key": key}):
        assert server.get("/orgs", headers) == 200
    assert server.stop() == 0

    again = start().wait_until_up()
    assert keys(again.output.read_text()) == []
    assert "/password/mpl_" not in again.output.read_text(), "an open link is not replaced"
    assert again.key == key
    assert again.get("/orgs", {"X-API-Key": key}) == 200
    assert again.stop(signal.SIGINT) == 0


def test_the_link_sets_the_owners_password(server: Server) -> None:
    (line,) = [line for line in server.output.read_text().splitlines() if "/password/" in line]
    path = "/password/" + line.rpartition("/password/")[2]
    connection = server.connect()
    form = "password=correct+horse+battery&repeated=correct+horse+battery"
    connection.request("POST", path, form, {"Content-Type": "application/x-www-form-urlencoded"})
    assert connection.getresponse().read().count(b"Your password is set") == 1
    connection.close()
    status, answer = server.ask("POST", "/auth/login", {"email": "owner@localhost", "password": PASSWORD})
    assert (status, answer["access_token"][:4]) == (200, "mct_")
    assert server.get(path) == 404


def test_wrong_settings_and_taken_ports_end_it_with_a_sentence(server: Server, tmp_path: Path) -> None:
    for arguments, says in ((["--port", str(server.port)], "--port"), (["--port", "0"], "MUSHU_PORT")):
        environment = clean_environment(tmp_path, MUSHU_INSTANCE_PATH=str(tmp_path / "other"))
        command = [sys.executable, "-m", "mushu.server.up", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
        assert done.returncode == 1
        assert says in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "other").exists(), "nothing is set up for a server that cannot serve"


def test_a_file_that_holds_something_else_is_not_overwritten(start: Start) -> None:
    server = start()
    server.instance.mkdir(mode=0o700)
    (server.instance / "first-key.env").write_text("MUSHU_API_KEY=precious\n")
    (server.instance / "first-key.env").chmod(0o600)
    assert server.process.wait(timeout=30) == 1
    assert (server.instance / "first-key.env").read_text() == "MUSHU_API_KEY=precious\n"
    assert "holds a value" in server.output.read_text()


@pytest.mark.parametrize("milliseconds", [550, 1100, 750, 250, 450, 650, 850, 950][: times(2, 8)])
def test_a_first_run_that_is_killed_is_finished_by_the_next(start: Start, milliseconds: int) -> None:
    server = start(MUSHU_DELIVERY_LEASE_SECONDS="1")
    time.sleep(milliseconds / 1000)
    for pid in reversed(server.pids):
        subprocess.run(["kill", "-KILL", str(pid)], check=False, capture_output=True)
    server.process.wait()
    time.sleep(1.05)  # the lease of the killed attempt
    again = start(MUSHU_DELIVERY_LEASE_SECONDS="1").wait_until_up()
    assert again.get("/orgs", {"X-API-Key": again.key}) == 200
    assert again.flask("doctor").returncode == 0
    listed = again.flask("keys", "list", "--org", "default").stdout
    assert listed.count("first-key") == 1


def test_deleted_means_deleted_in_every_worker_on_the_very_next_request(server: Server) -> None:
    headers = {"X-API-Key": server.key}
    made = server.flask("keys", "list", "--org", "default", "--json").stdout
    key_id = made.partition('"key_id": "')[2].partition('"')[0]
    connections = one_to_each_worker(server, 3, headers)
    deleted = server.flask("keys", "delete", key_id, "--yes")
    assert deleted.returncode == 0, deleted.stderr
    assert answers(connections, headers) == [(401, "deleted_credential")] * 3
    assert server.key == ""


@pytest.mark.parametrize("end", ["password", "logout", "revocation", "disabling"][: times(1, 4)])
def test_a_cli_token_ends_at_once_in_every_worker(server: Server, end: str) -> None:
    server.flask("users", "set-password", "owner@localhost", "--password-stdin", stdin=f"{PASSWORD}\n")
    _, login = server.ask("POST", "/auth/login", {"email": "owner@localhost", "password": PASSWORD})
    headers = {"Authorization": f"Bearer {login['access_token']}"}
    connections = one_to_each_worker(server, 3, headers)
    if end == "logout":
        assert server.ask("POST", "/auth/logout", headers=headers) == (200, {"logged_out": True})
    elif end == "revocation":
        listed = server.flask("tokens", "list", "owner@localhost", "--json").stdout
        token_id = listed.partition('"token_id": "')[2].partition('"')[0]
        assert server.flask("tokens", "revoke", token_id).returncode == 0
    elif end == "password":
        server.flask("users", "set-password", "owner@localhost", "--password-stdin", stdin="another good passphrase\n")
    else:
        assert server.flask("users", "disable", "owner@localhost").returncode == 0
    code = "disabled_credential" if end == "disabling" else "deleted_credential"
    assert answers(connections, headers) == [(401, code)] * 3
    if end == "disabling":
        assert server.flask("users", "enable", "owner@localhost").returncode == 0


def one_to_each_worker(server: Server, count: int, headers: dict[str, str]) -> list[HTTPConnection]:
    """Return an open connection to each worker, over which it has just let this credential in.

    It is the only one that can answer, because the others are stopped meanwhile. /proc does not tell who holds which
    connection: the workers let nobody but root look into them.
    """
    connections = []
    workers = [pid for pid in server.workers if threads_of(pid) > 1]  # not a process that keeps house beside them
    assert len(workers) == count
    for worker in workers:
        with stopped([pid for pid in workers if pid != worker]):
            connections.append(answered(server, headers))
    return connections


def answered(server: Server, headers: dict[str, str]) -> HTTPConnection:
    """Return a connection that was answered: one that waits at a process that stands still is given up."""
    for _ in range(200):
        connection = server.connect()
        connection.timeout = 0.3
        try:
            assert status(connection, "/orgs", headers) == 200
        except TimeoutError:
            connection.close()
        else:
            assert connection.sock is not None
            connection.sock.settimeout(10)
            return connection
    pytest.fail("the one worker that runs does not answer")


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Let these processes stand still."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        deadline = time.monotonic() + 10
        while not all(state_of(pid) == "T" for pid in pids):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def state_of(pid: int) -> str:
    """Return the letter of a process's state, as proc(5) names them."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def answers(connections: list[HTTPConnection], headers: dict[str, str]) -> list[tuple[int, str]]:
    """Ask once over each connection, close it, and return the statuses and error codes."""
    found = []
    for connection in connections:
        connection.request("GET", "/orgs", headers=headers)
        response = connection.getresponse()
        found.append((response.status, json.loads(response.read()).get("code", "")))
        connection.close()
    return found


def test_no_process_of_the_server_leaves_a_core_or_lets_its_own_user_look_into_it(server: Server) -> None:
    assert len(server.pids) >= 4
    for pid in server.pids:
        limits = re.search(r"^Max core file size +(\S+) +(\S+)", Path(f"/proc/{pid}/limits").read_text(), re.MULTILINE)
        assert limits is not None
        assert limits.groups() == ("0", "0")
        # The kernel gives what it closes to root: proc(5), on PR_SET_DUMPABLE.
        assert Path(f"/proc/{pid}/environ").stat().st_uid == 0


def test_two_first_runs_at_once_make_one_owner_and_one_key(start: Start) -> None:
    first, second = start(), start()
    first.wait_until_up()
    second.wait_until_up()
    listed = first.flask("keys", "list", "--org", "default", "--all").stdout
    assert listed.count("first-key") == 1, listed
    assert first.flask("users", "list").stdout.count("owner@localhost") == 1


def test_the_wsgi_module_serves_the_same_application(tmp_path: Path) -> None:
    script = "import wsgi; print(wsgi.app.test_client().get('/health').json)"
    environment = clean_environment(tmp_path, MUSHU_INSTANCE_PATH=str(tmp_path / "instance"), PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "{'status': 'ok'}"
