"""Owners and permissions: a file keeps its owner, and nobody reaches further by way of Mushu than without it."""

import os
from pathlib import Path
from unittest import mock

import pytest

from mushu.destination import Denied, DestinationError
from mushu_dotenv.folder import Folder
from tests.plugins.mushu_dotenv.places import KEY, NEW, OLD, Trace, deliver, destination, leftovers, private
from tests.plugins.mushu_dotenv.users import NOBODY, as_nobody, needs_root


@needs_root
def test_root_keeps_the_owner_and_lets_the_owner_lock(open_path: Path) -> None:
    os.chown(open_path, NOBODY, NOBODY)
    file = private(open_path / ".env", OLD)
    os.chown(file, NOBODY, 12)
    deliver(file)
    assert (file.stat().st_uid, file.stat().st_gid) == (NOBODY, 12)
    assert (open_path / ".env.mushu-lock").stat().st_uid == NOBODY
    os.chown(file, NOBODY, NOBODY)
    assert as_nobody(lambda: destination(file).remove(KEY.digest())) == ""
    assert file.read_bytes() == b"A=1\n"


@needs_root
@pytest.mark.parametrize(
    ("owner", "group", "reason", "way_out"),
    [(0, 0, "Permission is denied", "namei -l"), (NOBODY, 0, "belongs to group 0", "chgrp")],
)
def test_an_owner_that_could_not_be_kept_is_a_refusal(
    open_path: Path, owner: int, group: int, reason: str, way_out: str
) -> None:
    os.chown(open_path, NOBODY, NOBODY)
    file = private(open_path / ".env", OLD)
    os.chown(file, owner, group)
    before = Trace.of(file)
    said = as_nobody(lambda: deliver(file))
    assert reason in said
    assert way_out in said
    assert Trace.of(file) == before
    assert leftovers(open_path) == []


@needs_root
def test_a_readable_file_of_another_user_is_refused(open_path: Path) -> None:
    os.chown(open_path, NOBODY, NOBODY)
    file = private(open_path / ".env", OLD)
    file.chmod(0o644)
    said = as_nobody(lambda: deliver(file))
    assert "belongs to root" in said
    assert "Run this as that user" in said
    assert file.read_bytes() == OLD


@pytest.mark.parametrize(
    ("stranger", "reason"), [("geteuid", "only root could keep that"), ("getegid", "belongs to group")]
)
def test_the_owner_is_known_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stranger: str, reason: str
) -> None:
    file = private(tmp_path / ".env", OLD)
    monkeypatch.setattr("os.geteuid", lambda: file.stat().st_uid or 1)
    if stranger == "getegid" and file.stat().st_uid == 0:
        os.chown(file, 1, -1)
    monkeypatch.setattr(f"os.{stranger}", lambda: 4242)
    monkeypatch.setattr("os.getgroups", list)
    with pytest.raises(Denied, match=reason):
        destination(file).preflight()
    with pytest.raises(Denied, match=reason):
        deliver(file)
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_the_system_keeps_from_us_is_a_denial(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", OLD)
    with mock.patch("os.access", return_value=False), pytest.raises(Denied, match="may not write to"):
        destination(file).preflight()


def test_what_happens_after_the_file_was_replaced_is_no_denial(tmp_path: Path) -> None:
    """A denial says that nothing was written."""
    file = private(tmp_path / ".env", OLD)
    with (
        mock.patch.object(Folder, "sync", side_effect=PermissionError(13, "no")),
        pytest.raises(DestinationError, match="Read the destination again") as caught,
    ):
        deliver(file)
    assert not isinstance(caught.value, Denied)
    assert not caught.value.permanent
    assert file.read_bytes() == NEW


@needs_root
def test_a_folder_without_write_permission_is_refused(open_path: Path) -> None:
    file = private(open_path / ".env", OLD)
    os.chown(file, NOBODY, NOBODY)
    said = as_nobody(lambda: deliver(file))
    assert "is a folder that you may not write to" in said
    assert "ls -ld" in said
    assert list(open_path.iterdir()) == [file]


@needs_root
def test_a_folder_that_cannot_be_entered_is_refused(open_path: Path) -> None:
    (open_path / "closed").mkdir(0o700)
    file = private(open_path / "closed" / ".env", OLD)
    assert "Permission is denied" in as_nobody(destination(file).read)


@needs_root
def test_a_link_of_another_user_leads_root_nowhere(open_path: Path) -> None:
    target = private(open_path / "of-root", OLD)
    (open_path / ".env").symlink_to(target)
    os.chown(open_path / ".env", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(DestinationError, match=r"made by nobody to a file of another user\. Name the file itself"):
        deliver(open_path / ".env")
    assert target.read_bytes() == OLD
    os.chown(target, NOBODY, NOBODY)
    deliver(open_path / ".env")
    assert target.read_bytes() == NEW


@needs_root
def test_a_sticky_folder_of_everyone_is_fine(open_path: Path) -> None:
    open_path.chmod(0o1777)
    assert as_nobody(lambda: deliver(open_path / ".env")) == ""
    assert (open_path / ".env").stat().st_uid == NOBODY


def test_nothing_is_made_in_a_folder_open_to_everyone_not_even_to_take_a_key_away(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", NEW)
    tmp_path.chmod(0o777)
    with pytest.raises(DestinationError, match="everyone may write to"):
        destination(file).remove(KEY.digest())
    assert list(tmp_path.iterdir()) == [file]
