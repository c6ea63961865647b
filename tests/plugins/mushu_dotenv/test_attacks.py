"""Races between check and use, faults of the disk, and other bad days: after each, the old file or the new one."""

import errno
import fcntl
import os
import resource
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from mushu.destination import Attempt, Conflict, Denied, DestinationError, Receipt, Secret
from mushu.testing.processes import fork, wait_for
from mushu_dotenv import rewriting
from mushu_dotenv.folder import Folder, _above_standard
from tests.plugins.mushu_dotenv.places import KEY, NEW, OLD, Trace, deliver, destination, leftovers, private


def _before_rename(monkeypatch: pytest.MonkeyPatch, mischief: Callable[[], object]) -> None:
    """Let `mischief` happen after the temporary file is complete and before the last check."""
    keep = rewriting._keep_owner_and_mode

    def meddled(*arguments: object) -> None:
        keep(*arguments)  # type: ignore[arg-type]
        mischief()

    monkeypatch.setattr(rewriting, "_keep_owner_and_mode", meddled)


@pytest.mark.parametrize("how", ["in place", "by rename", "removed", "same content, new file", "became a pipe"])
def test_an_editor_that_saves_meanwhile_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    file = private(tmp_path / ".env", OLD)

    def edit() -> None:
        content = OLD if how == "same content, new file" else b"A=2\n"
        if how == "in place":
            file.write_bytes(content)
        elif how == "became a pipe":
            file.unlink()
            os.mkfifo(file)
        elif how == "removed":
            file.unlink()
        else:
            private(tmp_path / "new", content).rename(file)

    _before_rename(monkeypatch, edit)
    with pytest.raises(DestinationError) as caught:
        deliver(file)
    assert caught.value.permanent == (how == "became a pipe")
    assert leftovers(tmp_path) == []
    assert KEY.reveal().encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _before_rename(monkeypatch, lambda: private(tmp_path / ".env", OLD))
    with pytest.raises(DestinationError, match="changed by another program") as caught:
        deliver(tmp_path / ".env")
    assert not caught.value.permanent
    assert (tmp_path / ".env").read_bytes() == OLD


def test_a_link_that_is_swapped_while_waiting_for_the_lock_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        private(tmp_path / name / ".env", OLD)
    link = tmp_path / ".env"
    link.symlink_to("one/.env")
    sweep = rewriting.sweep

    def swap(folder: Folder) -> None:
        sweep(folder)
        link.unlink()
        link.symlink_to("two/.env")

    monkeypatch.setattr("mushu_dotenv.rewriting.sweep", swap)
    with pytest.raises(DestinationError, match="lead to another file") as caught:
        deliver(link)
    assert not caught.value.permanent
    assert [(tmp_path / name / ".env").read_bytes() for name in ("one", "two")] == [OLD, OLD]


def test_a_file_that_is_opened_to_others_while_waiting_for_the_lock_is_refused(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", OLD)

    def expose(_folder: Folder) -> None:
        file.chmod(0o644)

    with mock.patch("mushu_dotenv.rewriting.sweep", expose), pytest.raises(DestinationError, match="chmod 600"):
        deliver(file)
    assert file.read_bytes() == OLD


def test_a_file_that_becomes_a_link_after_the_check_is_not_followed(tmp_path: Path) -> None:
    other = private(tmp_path / "other", OLD)
    file = private(tmp_path / ".env", OLD)

    def swapped(_folder: Folder, _name: str) -> os.stat_result:
        status = file.stat()
        file.unlink()
        file.symlink_to(other)
        return status

    with (
        mock.patch.object(Folder, "status_of", swapped),
        pytest.raises(DestinationError, match="symbolic link where none may be"),
    ):
        destination(file).read()
    assert other.read_bytes() == OLD


def test_a_writer_right_afterwards_is_noticed(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", OLD)
    sync = Folder.sync

    def overwrite(folder: Folder) -> None:
        sync(folder)
        file.write_bytes(b"A=2\n")

    with mock.patch.object(Folder, "sync", overwrite), pytest.raises(DestinationError) as caught:
        deliver(file)
    assert not caught.value.permanent
    assert "Read the destination again" in str(caught.value)


@pytest.mark.parametrize(
    ("call", "number", "permanent", "sentence"),
    [
        ("write", errno.ENOSPC, False, "disk is full"),
        ("write", errno.EDQUOT, False, "quota"),
        ("write", errno.EIO, False, "dmesg"),
        ("write", errno.EFBIG, True, "ulimit -f"),
        ("fsync", errno.EIO, False, "dmesg"),
        ("fchmod", errno.EPERM, True, "does not permit"),
        ("fsync", errno.EACCES, True, "Permission is denied"),
        ("rename", errno.EROFS, True, "read-only"),
        ("rename", errno.EBUSY, True, "Mount its folder"),
        ("rename", errno.ENOENT, False, "went away"),
        ("fstat", errno.EMFILE, False, "ulimit -n"),
        ("listdir", errno.ESTALE, False, "Try again"),
    ],
)
def test_a_fault_of_the_disk_leaves_the_file_as_it_was(
    tmp_path: Path, call: str, number: int, permanent: bool, sentence: str
) -> None:
    file = private(tmp_path / ".env", OLD)
    deliver(file, variable="OTHER")
    content, attempt = file.read_bytes(), Attempt("att_1", "key_1", destination(file).read().version)
    before = Trace.of(file)
    with (
        mock.patch(f"os.{call}", side_effect=OSError(number, os.strerror(number))),
        pytest.raises(DestinationError) as caught,
    ):
        destination(file).write(KEY, attempt)
    assert sentence in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.permanent == permanent
    assert isinstance(caught.value, Denied) == (number in (errno.EACCES, errno.EPERM, errno.EROFS))
    assert caught.value.__suppress_context__
    assert file.read_bytes() == content
    assert Trace.of(file) == before
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", ["KeyboardInterrupt", "MemoryError"])
def test_an_interrupt_takes_the_temporary_file_along(tmp_path: Path, name: str) -> None:
    file = private(tmp_path / ".env", OLD)
    interrupt: type[BaseException] = __builtins__[name]  # type: ignore[index]
    with mock.patch("os.fsync", side_effect=interrupt), pytest.raises(interrupt):
        deliver(file)
    assert leftovers(tmp_path) == []
    assert file.read_bytes() == OLD


def test_a_short_write_is_continued(tmp_path: Path) -> None:
    write = os.write
    with mock.patch("os.write", lambda descriptor, data: write(descriptor, data[:7])):
        deliver(private(tmp_path / ".env", OLD))
    assert (tmp_path / ".env").read_bytes() == NEW


def test_a_limit_on_the_size_of_files_leaves_the_old_one(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", b"# padding\n" * 1000 + OLD)
    before = Trace.of(file)

    def work() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        with pytest.raises(DestinationError, match="ulimit -f"):
            deliver(file)
        return 0

    assert wait_for(fork(work)) == 0
    assert Trace.of(file) == before
    assert leftovers(tmp_path) == []


def test_closed_standard_streams_do_not_end_in_the_file(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", OLD)

    def work() -> int:
        for descriptor in (0, 1, 2):
            os.close(descriptor)

        def chatty(descriptor: int) -> None:
            for stream in (1, 2):
                try:
                    os.write(stream, b"NOISE")
                except OSError as error:
                    assert error.errno == errno.EBADF  # noqa: PT017 - in a child without streams

        with mock.patch("os.fsync", chatty):
            deliver(file)
        return 0

    assert wait_for(fork(work)) == 0
    assert file.read_bytes() == NEW


def test_owners_that_cannot_be_kept_are_noticed_at_the_last_moment(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", NEW)
    destination(file).remove(KEY.digest())  # makes the lock file
    private(file, OLD)
    seen = os.fstat

    def other_group(descriptor: int) -> os.stat_result:
        status = list(seen(descriptor))
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
            status[stat.ST_GID] += 1
        return os.stat_result(status)

    with (
        mock.patch("os.fstat", other_group),
        mock.patch("os.fchown", side_effect=PermissionError(1, "no")),
        pytest.raises(Denied, match="could not be kept"),
    ):
        deliver(file)
    assert file.read_bytes() == OLD
    assert leftovers(tmp_path) == []


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = private(tmp_path / ".env", OLD)
    monkeypatch.setattr("mushu_dotenv.rewriting.LARGEST", len(OLD) - 1)
    with pytest.raises(DestinationError, match="is larger than"):
        destination(file).read()


def test_a_line_rewritten_by_hand_is_not_restored_by_guess(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", b"MUSHU_API_KEY\n")
    receipt = deliver(file)
    private(file, b"MUSHU_API_KEY = '" + KEY.reveal().encode() + b"'\n")
    with pytest.raises(DestinationError, match="by hand"):
        destination(file).restore(receipt)


def test_a_receipt_that_wrote_nothing_cannot_be_undone(tmp_path: Path) -> None:
    deliver(tmp_path / ".env")
    second = deliver(tmp_path / ".env")
    assert second.undo is None
    with pytest.raises(DestinationError, match="nothing to go back to"):
        destination(tmp_path / ".env").restore(second)


@pytest.mark.parametrize("act", ["restore", "remove"])
def test_a_key_that_changes_hands_while_waiting_for_the_lock_is_left_alone(tmp_path: Path, act: str) -> None:
    file = tmp_path / ".env"
    receipt = deliver(file)

    def stolen(folder: Folder) -> None:
        private(file, OLD)

    with mock.patch("mushu_dotenv.rewriting.sweep", stolen):
        undone = destination(file).restore(receipt) if act == "restore" else destination(file).remove(KEY.digest())
    assert not undone
    assert file.read_bytes() == OLD


def test_a_layout_that_leaves_no_safe_place_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", OLD)
    with (
        mock.patch("mushu_dotenv.document.line_of", lambda variable, value, exported: f"{variable}='{value}'' #"),
        pytest.raises(DestinationError, match="no safe place") as caught,
    ):
        deliver(file)
    assert caught.value.permanent
    assert file.read_bytes() == OLD


def test_a_receipt_is_for_this_place_only(tmp_path: Path) -> None:
    receipt = deliver(tmp_path / ".env")
    assert not destination(tmp_path / "other").restore(receipt)
    assert not destination(tmp_path / ".env", "OTHER").restore(Receipt(receipt.version, Secret("x").digest()))


def test_a_folder_that_cannot_be_synced_is_taken_as_it_is(tmp_path: Path) -> None:
    sync = os.fsync

    def unsupported(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "no")
        sync(descriptor)

    with mock.patch("os.fsync", unsupported):
        deliver(tmp_path / ".env")
    assert destination(tmp_path / ".env").read().digest == KEY.digest()


def test_a_conflict_names_the_variable_and_the_file(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", OLD)
    with pytest.raises(Conflict, match=r"MUSHU_API_KEY in .*env is no longer what it was"):
        destination(file).write(KEY, Attempt("att_1", "key_1", "stale"))
    assert file.read_bytes() == OLD
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_descriptor_of_a_closed_standard_stream_is_moved_out_of_the_way(tmp_path: Path) -> None:
    low = os.open(tmp_path, os.O_RDONLY)
    with mock.patch("mushu_dotenv.folder._STANDARD", low):
        moved = _above_standard(low)
    assert moved > low
    assert os.path.samestat(os.fstat(moved), tmp_path.stat())
    os.close(moved)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(low)
