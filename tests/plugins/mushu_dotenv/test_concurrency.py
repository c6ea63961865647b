"""Many writers at once, and the lock that keeps them apart."""

import fcntl
import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest
from dotenv import dotenv_values

from mushu.destination import Attempt, DestinationError, Secret
from mushu.testing.processes import fork, wait_for
from mushu_dotenv.folder import Folder
from mushu_dotenv.locking import LOCK_NAME
from tests.long import times
from tests.plugins.mushu_dotenv.places import KEY, VARIABLE, deliver, destination, leftovers, private

_PROCESSES = times(4, 8)
_KEYS = times(10, 50)


def test_of_many_writers_of_different_variables_none_loses_a_line(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", b"# shared\nFIRST=1\n")

    def writer(process: int) -> int:
        for number in range(_KEYS):
            deliver(file, Secret(f"value-{process}-{number}"), f"KEY_{process}_{number}")
        return 0

    children = [fork(lambda process=process: writer(process)) for process in range(_PROCESSES)]  # type: ignore[misc]
    assert [wait_for(child) for child in children] == [0] * _PROCESSES
    values = dotenv_values(file, interpolate=False)
    assert values.pop("FIRST") == "1"
    assert values == {f"KEY_{p}_{n}": f"value-{p}-{n}" for p in range(_PROCESSES) for n in range(_KEYS)}
    assert file.read_bytes().startswith(b"# shared\nFIRST=1\n")
    assert leftovers(tmp_path) == []


def test_writers_and_removers_in_threads_leave_the_others_lines_alone(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", b"FIRST=1")

    def come_and_go(name: str) -> None:
        for _ in range(10):
            deliver(file, KEY, name)
            assert destination(file, name).remove(KEY.digest())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(come_and_go, ["A", "B", "C", "D"]))
    assert file.read_bytes() == b"FIRST=1\n"


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", b"# padding\n" * 500)
    deliver(file, Secret("x" * 5000))
    done = threading.Event()

    def write() -> None:
        for number in range(12):
            deliver(file, Secret(str(number % 10) * 5000))
        done.set()

    allowed = {Secret(letter * 5000).digest() for letter in "x0123456789"}
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not done.is_set() and not writing.done():
            assert destination(file).read().digest in allowed
        writing.result()


def test_a_lock_that_is_never_released_is_an_error_that_passes(tmp_path: Path) -> None:
    file = private(tmp_path / ".env")
    with (tmp_path / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        begun = time.monotonic()
        place = destination(file, timeout="0.2")
        with pytest.raises(DestinationError, match=r"for 0\.2 seconds\. Try again") as caught:
            place.write(KEY, _attempt(file))
    assert time.monotonic() - begun >= 0.2
    assert not caught.value.permanent
    assert str(tmp_path / LOCK_NAME) in str(caught.value)
    assert file.read_bytes() == b""


def test_a_lock_file_that_is_deleted_while_others_wait_still_lets_one_in_at_a_time(tmp_path: Path) -> None:
    file = private(tmp_path / ".env")
    lock = (tmp_path / LOCK_NAME).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(deliver, file)
        time.sleep(0.1)
        (tmp_path / LOCK_NAME).unlink()
        lock.close()
        waiting.result(timeout=10)
    assert (tmp_path / LOCK_NAME).exists(), "the waiter must have locked a file that others find"


def test_the_lock_ends_with_the_operation_though_a_child_was_forked_meanwhile(tmp_path: Path) -> None:
    file = private(tmp_path / ".env")
    reading, writing = os.pipe()
    children: list[int] = []
    sync = os.fsync

    def linger() -> int:
        os.close(writing)
        return len(os.read(reading, 1))  # until the parent closes its end

    def fork_once(descriptor: int) -> None:
        if not children:
            children.append(fork(linger))
        sync(descriptor)

    try:
        with mock.patch("os.fsync", fork_once):
            deliver(file)
        destination(file, "SECOND", timeout="1").write(KEY, _attempt(file, "SECOND"))
    finally:
        os.close(writing)
        assert wait_for(children[0]) == 0
        os.close(reading)


def test_a_lock_file_that_another_makes_first_is_used(tmp_path: Path) -> None:
    lock = private(tmp_path / LOCK_NAME)
    status_of = Folder.status_of
    blind = iter([None])

    def seen(folder: Folder, name: str) -> os.stat_result | None:
        return next(blind, status_of(folder, name)) if name == LOCK_NAME else status_of(folder, name)

    before = lock.stat().st_ino
    with mock.patch.object(Folder, "status_of", seen):
        deliver(tmp_path / ".env")
    assert next(blind, "asked") == "asked"
    assert lock.stat().st_ino == before


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["symbolic link", "named pipe", "folder"])
def test_a_lock_file_that_is_something_else_is_refused(tmp_path: Path, kind: str) -> None:
    file = private(tmp_path / ".env")
    lock, elsewhere = tmp_path / LOCK_NAME, private(tmp_path / "elsewhere", b"precious")
    if kind == "symbolic link":
        lock.symlink_to(elsewhere)
    elif kind == "named pipe":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    with pytest.raises(DestinationError) as caught:
        deliver(file)
    assert str(lock) in str(caught.value)
    assert caught.value.permanent
    assert elsewhere.read_bytes() == b"precious"
    assert file.read_bytes() == b""


def test_a_lock_file_that_was_there_before_keeps_its_mode_and_content(tmp_path: Path) -> None:
    lock = private(tmp_path / LOCK_NAME, b"precious")
    lock.chmod(0o640)
    deliver(tmp_path / ".env")
    assert lock.read_bytes() == b"precious"
    assert stat.S_IMODE(lock.stat().st_mode) == 0o640


def _attempt(file: Path, variable: str = VARIABLE) -> Attempt:
    return Attempt("att_1", "key_1", destination(file, variable).read().version)
