"""What the machine refuses, told in a sentence with the way on."""

import errno
import os
from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, InternalError, OperationalError

from mushu.server import up
from mushu.server.config import Settings
from mushu.server.errors import ConfigurationError
from mushu.server.instance import instance_path
from mushu.server.machine_faults import explained

pytestmark = pytest.mark.fault


def of_system(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (of_system(errno.ENOSPC, "/srv/x"), "/srv/x: No space left on device. Make room there"),
        (of_system(errno.EROFS, "/srv/x"), "mounted for writing, or name another folder in MUSHU_INSTANCE_PATH"),
        (of_system(errno.EACCES, "/"), "/: Permission denied. It is root's. Run this as the account"),
        (of_system(errno.ENOSPC), "The answer could not be printed: No space left on device."),
        (OperationalError("x", {}, Exception("database or disk is full")), "Make room on its disk"),
        (OperationalError("x", {}, Exception("unable to open database file")), "whose the instance folder is"),
        (OperationalError("x", {}, Exception("no such table: users")), "Run `flask doctor`, or script/up once"),
        (DatabaseError("x", {}, Exception("file is not a database")), "It is damaged: `flask doctor` looks at it"),
        (IntegrityError("x", {}, Exception("UNIQUE")), "Another process changed the same thing at this moment"),
        (DataError("x", {}, Exception("NUL")), "a character that cannot be stored"),
        (ModuleNotFoundError("x", name="hvac.api"), "hvac is not installed. It comes with mushu[vault]"),
        (ModuleNotFoundError("x", name="flask"), "It comes with mushu[server]"),
    ],
)
def test_each_has_its_sentence(error: Exception, says: str) -> None:
    assert says in (explained(error) or "")


def test_what_is_a_fault_of_ours_is_not_explained_away() -> None:
    ours = InternalError("x", {}, Exception("x"))
    for error in (
        ValueError("x"),
        ours,
        ModuleNotFoundError("x", name="mushu.nosuch"),
        of_system(errno.EINVAL, "/srv/x"),
    ):
        assert explained(error) is None


def test_a_start_on_a_disk_that_takes_nothing_ends_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise of_system(errno.EROFS, str(tmp_path / "instance"))

    monkeypatch.setattr("mushu.server.operation.first_run.prepare", fail)
    assert up.prepare(Settings(instance_path=tmp_path / "instance")) == 1
    assert "Have it mounted for writing" in capsys.readouterr().err


def test_an_account_without_a_home_is_told_to_name_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_home(*_: object, **__: object) -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("mushu.server.instance.ROOT", tmp_path)
    monkeypatch.setattr("platformdirs.user_data_path", no_home)
    with pytest.raises(ConfigurationError, match="MUSHU_INSTANCE_PATH"):
        instance_path({})
