"""Odd and hostile files, links and folders."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mushu.destination import DestinationError
from mushu.testing.processes import fork, wait_for
from tests.plugins.mushu_dotenv.places import KEY, NEW, OLD, assert_refused, deliver, destination, private


def _mode(mode: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        file = private(folder / ".env", OLD)
        file.chmod(mode)
        return file

    return make


def _hard_link(folder: Path) -> Path:
    os.link(private(folder / "other", OLD), folder / ".env")
    return folder / ".env"


def _loop(folder: Path) -> Path:
    (folder / ".env").symlink_to("b")
    (folder / "b").symlink_to(".env")
    return folder / ".env"


def _dangling(folder: Path) -> Path:
    (folder / ".env").symlink_to("b")
    (folder / "b").symlink_to("gone")
    return folder / ".env"


def _link_to(target: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / ".env").symlink_to(target)
        return folder / ".env"

    return make


def _directory(folder: Path) -> Path:
    (folder / ".env").mkdir()
    return folder / ".env"


def _fifo(folder: Path) -> Path:
    os.mkfifo(folder / ".env", 0o600)
    return folder / ".env"


def _socket(folder: Path) -> Path:
    here = Path.cwd()
    os.chdir(folder)  # a socket's path may be no longer than 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(".env")
    finally:
        os.chdir(here)
    return folder / ".env"


def _open_folder(folder: Path) -> Path:
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    return private(folder / "open" / ".env", OLD)


def _not_a_folder(folder: Path) -> Path:
    private(folder / "file", OLD)
    return folder / "file" / ".env"


REFUSED: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "readable by others": (_mode(0o604), "can be read or written by others (mode 0604)", "chmod 600"),
    "readable by all": (_mode(0o644), "can be read or written by others (mode 0644)", "chmod 600"),
    "readable by the group": (_mode(0o640), "can be read or written by others (mode 0640)", "chmod 600"),
    "writable by the group": (_mode(0o660), "can be read or written by others (mode 0660)", "chmod 600"),
    "only writable by others": (_mode(0o602), "can be read or written by others (mode 0602)", "chmod 600"),
    "hard link": (_hard_link, "has 2 hard links", "find -samefile"),
    "link loop": (_loop, "leads in a circle", "Point it at the file"),
    "dangling link": (_dangling, "to a file that does not exist", "Make the file"),
    "link to a folder": (_link_to("."), "is a folder", "Name a file"),
    "link to a folder with a slash": (_link_to("../"), "is a folder", "Name a file"),
    "link to /dev/null": (_link_to("/dev/null"), "is a device, not a regular file", "Name the file"),
    "folder": (_directory, "is a folder, not a regular file", "Name the file"),
    "named pipe": (_fifo, "is a named pipe, not a regular file", "Name the file"),
    "socket": (_socket, "is a socket, not a regular file", "Name the file"),
    "folder open to everyone": (_open_folder, "is a folder that everyone may write to", "chmod o-w"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("make", "reason", "way_out"), REFUSED.values(), ids=REFUSED)
def test_an_unsafe_file_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], Path], reason: str, way_out: str
) -> None:
    file = make(tmp_path)
    assert_refused(file, {*tmp_path.iterdir(), *file.parent.iterdir()}, reason, way_out)


@pytest.mark.parametrize("path", ["missing/.env", "missing/deep/.env"])
def test_a_missing_folder_is_absent_to_read_and_refused_to_write(tmp_path: Path, path: str) -> None:
    place = destination(tmp_path / path)
    assert place.read().digest is None
    assert not place.remove(KEY.digest())
    with pytest.raises(DestinationError, match=r"does not exist\. Make it first"):
        deliver(tmp_path / path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DestinationError, match="not a folder"):
        deliver(_not_a_folder(tmp_path))


@pytest.mark.parametrize("length", [255, 256])
def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path, length: int) -> None:
    file = tmp_path / ("x" * length)
    if length == 255:
        deliver(file)
        assert destination(file).remove(KEY.digest())
        return
    with pytest.raises(DestinationError, match="path is too long") as caught:
        deliver(file)
    assert caught.value.permanent


def test_a_name_that_is_not_utf_8_is_a_name_like_others(tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n%\x1b.env"))
    deliver(file)
    assert file.read_bytes().endswith(KEY.reveal().encode() + b"\n")
    file.chmod(0o644)
    with pytest.raises(DestinationError) as caught:
        destination(file).preflight()
    assert str(caught.value).isprintable()
    assert "\\xff" in str(caught.value)


def test_a_link_stays_and_its_target_is_rewritten(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target = private(tmp_path / "real" / "settings", OLD)
    (tmp_path / "second").symlink_to("real/../real/settings")
    (tmp_path / ".env").symlink_to(tmp_path / "second")
    receipt = deliver(tmp_path / ".env")
    assert (tmp_path / ".env").readlink() == tmp_path / "second"
    assert target.read_bytes() == NEW
    assert (tmp_path / "real" / ".env.mushu-lock").exists()
    assert not (tmp_path / ".env.mushu-lock").exists()
    assert destination(tmp_path / ".env").restore(receipt)
    assert target.read_bytes() == OLD


@pytest.mark.parametrize("umask", [0, 0o777])
def test_the_umask_makes_no_difference(tmp_path: Path, umask: int) -> None:
    def work() -> int:
        os.umask(umask)
        deliver(tmp_path / ".env")
        deliver(tmp_path / ".env", variable="SECOND")
        return 0

    assert wait_for(fork(work)) == 0
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        ".env": 0o600,
        ".env.mushu-lock": 0o600,
    }


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_the_mode_stays(tmp_path: Path, mode: int) -> None:
    file = _mode(mode)(tmp_path)
    deliver(file)
    assert stat.S_IMODE(file.stat().st_mode) == mode


def test_a_key_can_be_taken_out_of_a_file_that_has_become_readable(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", NEW)
    file.chmod(0o644)
    assert destination(file).remove(KEY.digest())
    assert file.read_bytes() == b"A=1\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_a_file_that_only_was_made_for_the_key_goes_with_it(tmp_path: Path) -> None:
    receipt = deliver(tmp_path / ".env")
    assert destination(tmp_path / ".env").restore(receipt)
    assert not (tmp_path / ".env").exists()


def test_a_file_that_was_empty_before_stays(tmp_path: Path) -> None:
    receipt = deliver(private(tmp_path / ".env"))
    assert destination(tmp_path / ".env").restore(receipt)
    assert (tmp_path / ".env").read_bytes() == b""


def test_a_file_that_somebody_removed_has_nothing_to_undo(tmp_path: Path) -> None:
    receipt = deliver(tmp_path / ".env")
    (tmp_path / ".env").unlink()
    assert not destination(tmp_path / ".env").restore(receipt)
    assert not destination(tmp_path / ".env").remove(KEY.digest())
