"""The wheel that a server offers: pip takes it, and a server runs from it in an empty folder, without a checkout."""

import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.e2e.conftest import Server, Start, clean_environment, free_port


def pip(environment: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.fault
def test_pip_installs_it_and_a_server_runs_from_it(start: Start, tmp_path: Path) -> None:
    server = start().wait_until_up()
    (address,) = re.findall(r"^client +pip install '(\S+)'$", server.output.read_text(), re.MULTILINE)
    environment, empty, home = tmp_path / "venv", tmp_path / "empty", tmp_path / "other-home"
    empty.mkdir()
    home.mkdir()
    venv.create(environment)
    wrong = address[:-4] + ("0000" if not address.endswith("0000") else "1111")
    assert "DO NOT MATCH THE HASHES" in pip(environment, "install", "--no-deps", "--no-index", wrong).stderr
    index = f"http://127.0.0.1:{server.port}/client/"
    named = pip(environment, "download", "--no-deps", "--index-url", index, "--dest", str(tmp_path), "mushu")
    assert named.returncode == 0, named.stderr
    done = pip(environment, "install", "--no-deps", "--no-index", "--no-compile", address)
    assert done.returncode == 0, done.stderr
    # The libraries are those of this session: the network is closed. A path file within that folder is not read.
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))

    port = free_port()
    variables = clean_environment(home, MUSHU_PORT=str(port), MUSHU_ARGON2_MEMORY_KIB="8")
    programs = environment / "bin"
    output = tmp_path / "installed"
    with output.open("w") as file:
        process = subprocess.Popen(
            [programs / "mushu-server", "up"], env=variables, cwd=empty, stdout=file, stderr=file
        )
    try:
        installed = Server(process, port, home / ".local/share/mushu/instance", output, variables)  # type: ignore[arg-type]
        installed.wait_until_up()
        assert address.rpartition("#")[2] in output.read_text(), "it offers the same bytes"
        for command in (["-P", "-m", "flask", "keys", "list", "--org", "default"], ["-P", "-m", "flask", "doctor"]):
            ran = subprocess.run(
                [programs / "python", *command], env=variables, cwd=empty, capture_output=True, text=True, check=False
            )
            assert ran.returncode == 0, ran.stderr
        assert str(packages) in subprocess.run(
            [programs / "python", "-P", "-c", "import mushu.testing, mushu.server.core as c; print(c.MIGRATIONS)"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert list(empty.iterdir()) == []
    finally:
        process.terminate()
        process.wait(timeout=20)
