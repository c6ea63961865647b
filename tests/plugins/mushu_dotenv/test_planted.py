"""Files, folders, links and locks that another user put in the way: none of them gets the key."""

import os
from pathlib import Path

import pytest

from mushu.destination import DestinationError, user_name
from mushu_dotenv.locking import LOCK_NAME
from tests.plugins.mushu_dotenv.places import KEY, NEW, OLD, assert_refused, deliver, destination, private
from tests.plugins.mushu_dotenv.users import NOBODY, as_nobody, needs_root

pytestmark = needs_root

_OTHER = 12


def _owned(path: Path, user: int) -> Path:
    os.chown(path, user, user, follow_symlinks=False)
    return path


def _folder(path: Path, user: int = 0, mode: int = 0o755) -> Path:
    path.mkdir()
    path.chmod(mode)
    return _owned(path, user)


@pytest.mark.fault
@pytest.mark.parametrize("mode", [0o1777, 0o775, 0o1775, 0o2775], ids=oct)
@pytest.mark.parametrize("owner", [0, NOBODY])
def test_a_file_that_another_user_could_have_planted_gets_no_key(open_path: Path, mode: int, owner: int) -> None:
    folder = _folder(open_path / "shared", owner, mode)
    file = _owned(private(folder / ".env", OLD), NOBODY)
    assert_refused(file, {file}, "could have been put there by nobody", "chmod go-w")
    assert file.read_bytes() == OLD


@pytest.mark.fault
def test_a_file_in_the_folder_of_a_third_user_gets_no_key(open_path: Path) -> None:
    folder = _folder(open_path / "of-other", _OTHER)
    file = _owned(private(folder / ".env", OLD), NOBODY)
    assert_refused(file, {file}, f"which {user_name(12)} can make lead elsewhere", "Choose a path")


@pytest.mark.fault
@pytest.mark.parametrize("mode", [0o777, 0o775], ids=oct)
def test_a_folder_that_another_user_planted_further_up_gets_no_key(open_path: Path, mode: int) -> None:
    shared = _folder(open_path / "shared", 0, mode)
    _folder(shared / "app", NOBODY)
    _folder(shared / "app" / "conf", NOBODY)
    file = _owned(private(shared / "app" / "conf" / ".env", OLD), NOBODY)
    assert_refused(file, {file}, "could have been put there by nobody", "chmod go-w")


@pytest.mark.fault
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_among_the_folders_leads_root_nowhere(open_path: Path, exists: bool) -> None:
    target = _folder(open_path / "of-root")
    if exists:
        private(target / ".env", OLD)
    home = _folder(open_path / "home", NOBODY)
    (home / "conf").symlink_to(target)
    _owned(home / "conf", NOBODY)
    with pytest.raises(DestinationError, match="which nobody can make lead elsewhere"):
        deliver(home / "conf" / ".env")
    assert [path.read_bytes() for path in target.iterdir()] == ([OLD] if exists else [])


@pytest.mark.fault
def test_a_link_that_another_user_made_in_a_folder_of_root_leads_nowhere(open_path: Path) -> None:
    target = _folder(open_path / "of-root")
    private(target / ".env", OLD)
    (open_path / "conf").symlink_to(target)
    _owned(open_path / "conf", NOBODY)
    with pytest.raises(DestinationError, match="which nobody can make lead elsewhere"):
        deliver(open_path / "conf" / ".env")
    assert (target / ".env").read_bytes() == OLD


@pytest.mark.fault
def test_a_lock_that_another_user_planted_keeps_nobody_waiting(open_path: Path) -> None:
    open_path.chmod(0o1777)
    _owned(private(open_path / LOCK_NAME), NOBODY)
    with pytest.raises(DestinationError, match="was made by nobody"):
        deliver(open_path / ".env")
    assert not (open_path / ".env").exists()


@pytest.mark.fault
def test_a_lock_that_is_the_hard_link_of_another_file_is_none(open_path: Path) -> None:
    other = private(open_path / "other", OLD)
    os.link(other, open_path / LOCK_NAME)
    with pytest.raises(DestinationError, match="should be a lock file"):
        deliver(open_path / ".env")
    assert other.read_bytes() == OLD


@pytest.mark.parametrize("owner", [0, NOBODY])
def test_the_file_of_a_user_keeps_its_owner_where_only_that_user_or_root_can_write(open_path: Path, owner: int) -> None:
    folder = _folder(open_path / "app", owner, 0o755)
    file = _owned(private(folder / ".env", OLD), NOBODY)
    deliver(file)
    assert file.read_bytes() == NEW
    assert file.stat().st_uid == NOBODY


def test_a_new_file_in_a_sticky_folder_is_ours_and_closed(open_path: Path) -> None:
    open_path.chmod(0o1777)
    deliver(open_path / ".env")
    status = (open_path / ".env").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (os.geteuid(), 0o600)


def test_a_file_of_ours_in_a_folder_of_a_group_stays_ours(open_path: Path) -> None:
    folder = _folder(open_path / "group", NOBODY, 0o775)
    file = _owned(private(folder / ".env", OLD), NOBODY)
    assert as_nobody(lambda: deliver(file)) == ""
    assert file.stat().st_uid == NOBODY


def test_a_key_can_be_taken_out_of_a_planted_file(open_path: Path) -> None:
    open_path.chmod(0o1777)
    file = _owned(private(open_path / ".env", NEW), NOBODY)
    assert destination(file).remove(KEY.digest())
    assert file.read_bytes() == b"A=1\n"


def test_a_folder_that_can_be_passed_but_not_read_is_passed(open_path: Path) -> None:
    _folder(open_path / "passage", 0, 0o711)
    _folder(open_path / "passage" / "home", NOBODY, 0o700)
    assert as_nobody(lambda: deliver(open_path / "passage" / "home" / ".env")) == ""
