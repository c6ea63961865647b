"""`script/up` in a new clone, under any umask: nobody else can write to what it made, or look into the instance."""

import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Server, clean_environment, free_port
from tests.long import times
from tests.server.conftest import CHEAP_ARGON2


def cloned(folder: Path, umask: int) -> Path:
    """Return a clone whose `.venv` is there already, and takes what Mushu needs from this one."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True, capture_output=True, umask=umask)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / ".venv")], check=True, umask=0o022)
    (packages,) = folder.glob(".venv/lib/python*/site-packages")
    path = (folder, folder / "plugins", sysconfig.get_path("purelib"))
    (packages / "clone.pth").write_text("".join(f"{entry}\n" for entry in path))
    wanted = subprocess.run(
        ["bash", "-c", "cat setup.cfg pyproject.toml | cksum"], cwd=folder, check=True, capture_output=True, text=True
    )
    (folder / ".venv" / ".mushu-installed-server").write_text(wanted.stdout)
    return folder


def open_to_write(folder: Path) -> set[Path]:
    """Return what group or others can write to."""
    return {path for path in folder.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o022}


@pytest.mark.fault
@pytest.mark.parametrize("umask", [0o000, 0o077, 0o002, 0o022][: times(1, 4)], ids=oct)
def test_a_new_clone_is_sound_after_script_up(tmp_path: Path, umask: int) -> None:
    clone = cloned(tmp_path / "mushu", umask)
    git_made = open_to_write(clone)
    cheap = {f"MUSHU_{name.upper()}": str(value) for name, value in CHEAP_ARGON2.items()}
    port = free_port()
    environment = clean_environment(tmp_path, MUSHU_PORT=str(port), **cheap)
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(
            [str(clone / "script" / "up")],
            env=environment, cwd=tmp_path, stdout=output, stderr=subprocess.STDOUT, text=True, umask=umask,
        )  # fmt: skip
    server = Server(process, port, clone / "instance", tmp_path / "output", environment)
    try:
        server.wait_until_up()
        assert server.get("/health") == 200
    finally:
        if process.poll() is None:
            assert server.stop(signal.SIGINT) == 0
    assert open_to_write(clone) <= git_made - {clone / "instance"}
    assert not [path for path in (clone, *open_to_write(clone)) if path.stat().st_mode & 0o002]
    instance = clone / "instance"
    for path in (instance, *instance.rglob("*")):
        assert path.name == "README.md" or path.stat().st_mode & 0o077 == 0, path
    doctor = subprocess.run(
        [str(clone / ".venv" / "bin" / "python"), "-P", "-c", "from mushu.server.main import main; main()", "doctor"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, umask=umask,
    )  # fmt: skip
    assert (doctor.returncode, "BAD" in doctor.stdout) == (0, False), doctor.stdout + doctor.stderr
    assert f"instance folder is {os.path.realpath(instance)}" in doctor.stdout
