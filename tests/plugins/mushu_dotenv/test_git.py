"""A key must not end in a commit; and asking git about a repository must not let the repository do anything."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mushu.destination import DestinationError
from mushu.keyformat import Prefix, generate
from tests.plugins.mushu_dotenv.places import NEW, OLD, assert_refused, deliver, destination, private


def _git(folder: Path, *arguments: str) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, env=environment)


def _program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return path


def _tracked(folder: Path) -> Path:
    file = private(folder / ".env", OLD)
    _git(folder, "init", "-q")
    _git(folder, "add", "-f", ".env")
    return file


def _tracked_and_deleted(folder: Path) -> Path:
    file = _tracked(folder)
    shutil.copy(file, folder / "elsewhere")
    file.unlink()
    return file


def _tracked_through_a_link(folder: Path) -> Path:
    (folder / "repository" / "sub").mkdir(parents=True)
    private(folder / "repository" / "sub" / "*.env", OLD)
    _git(folder / "repository", "init", "-q")
    _git(folder / "repository", "add", "-f", ".")
    (folder / ".env").symlink_to("repository/sub/*.env")
    return folder / ".env"


def _broken_repository(folder: Path) -> Path:
    (folder / ".git").mkdir()
    return private(folder / ".env", OLD)


REFUSED: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "tracked by git": (_tracked, "is tracked by git", "git rm --cached"),
    "tracked by git through a link": (_tracked_through_a_link, "is tracked by git", "git rm --cached"),
    "in a repository that git cannot read": (_broken_repository, "git could not say whether", "git ls-files"),
}


@pytest.mark.parametrize(("make", "reason", "way_out"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_git_may_commit_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], reason: str, way_out: str
) -> None:
    file = make(tmp_path)
    assert_refused(file, {file, file.resolve()}, reason, way_out)


def test_a_tracked_file_that_was_deleted_is_not_made_again(tmp_path: Path) -> None:
    file = _tracked_and_deleted(tmp_path)
    with pytest.raises(DestinationError, match="is tracked by git"):
        deliver(file)
    assert not file.exists()


def test_a_file_that_git_does_not_track_is_fine(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-q")
    file = private(tmp_path / ".env", OLD)
    deliver(file)
    assert file.read_bytes() == NEW


def test_a_missing_git_is_a_reason_to_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _tracked(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DestinationError, match="git could not say"):
        destination(file).preflight()


def test_a_hanging_git_is_a_reason_to_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _tracked(tmp_path)
    _program(tmp_path / "git", "exec /bin/sleep 5")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("mushu_dotenv.permissions._TIMEOUT", 0.1)
    with pytest.raises(DestinationError, match="git could not say"):
        destination(file).preflight()


def test_a_hostile_repository_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = private(tmp_path / ".env", OLD)
    _git(tmp_path, "init", "-q")
    trap = _program(tmp_path / "trap", f"touch {tmp_path}/sprung")
    for setting in ("core.fsmonitor", "core.sshCommand", "core.pager", "core.askPass", "diff.external"):
        _git(tmp_path, "config", setting, str(trap))
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "sprung"))
    destination(file).preflight()
    assert not (tmp_path / "sprung").exists()


def test_a_fault_in_the_configuration_of_the_user_is_no_reason_to_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _git(tmp_path, "init", "-q")
    (tmp_path / ".gitconfig").write_text("[broken")
    monkeypatch.setenv("HOME", str(tmp_path))
    deliver(private(tmp_path / ".env", OLD))


def test_a_name_is_not_a_pattern(tmp_path: Path) -> None:
    _tracked(tmp_path)
    deliver(private(tmp_path / "*env", OLD))
    deliver(private(tmp_path / ":(top).env", OLD))


@pytest.mark.fault
def test_git_learns_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repository").mkdir()
    file = _tracked(tmp_path / "repository")
    _program(tmp_path / "git", f"/usr/bin/env >{tmp_path}/seen\nexit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    key = generate(Prefix.LIVE_KEY).reveal()
    for name, value in {"VAULT_TOKEN": "hvs.hunter2", "MUSHU_SMTP_URL": "smtp://u:hunter2@h", "APP_KEY": key}.items():
        monkeypatch.setenv(name, value)
    destination(file).preflight()
    seen = (tmp_path / "seen").read_text()
    assert "GIT_CONFIG_NOSYSTEM=1" in seen
    assert "hunter2" not in seen
    assert key not in seen


@pytest.mark.fault
@pytest.mark.parametrize("path", ["", ".", "bin"])
def test_a_program_of_the_current_folder_is_not_taken_for_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    file = private(tmp_path / ".env", OLD)
    _git(tmp_path, "init", "-q")
    (tmp_path / path).mkdir(exist_ok=True)
    _program(tmp_path / path / "git", f"/usr/bin/touch {tmp_path}/sprung\nexit 1")
    monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    destination(file).preflight()
    assert not (tmp_path / "sprung").exists()


def test_hooks_of_a_hostile_repository_do_not_run(tmp_path: Path) -> None:
    file = private(tmp_path / ".env", OLD)
    _git(tmp_path, "init", "-q")
    hooks = tmp_path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("fsmonitor-watchman", "post-index-change", "pre-auto-gc", "post-checkout"):
        _program(hooks / hook, f"/usr/bin/touch {tmp_path}/sprung")
    _git(tmp_path, "config", "core.fsmonitor", str(hooks / "fsmonitor-watchman"))
    _git(tmp_path, "config", "include.path", str(tmp_path / "more"))
    (tmp_path / "more").write_text(f"[core]\n\tfsmonitor = {hooks}/fsmonitor-watchman\n\thooksPath = {hooks}\n")
    destination(file).preflight()
    assert not (tmp_path / "sprung").exists()


@pytest.mark.fault
@pytest.mark.parametrize(
    ("ignored", "for_all", "warned"),
    [("", "", True), (".env*", "", False), ("", ".env", False), ("!.env", ".env", True), ("*.tmp", "[broken", True)],
)
def test_a_file_that_git_does_not_ignore_is_accepted_with_a_warning(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ignored: str,
    for_all: str,
    warned: bool,
) -> None:
    """The user's own patterns count, and a file that is yet to be made."""
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    home.mkdir()
    _git(work, "init", "-q")
    (work / ".gitignore").write_text(ignored)
    (home / "ignored").write_text(for_all)
    (home / ".gitconfig").write_text(f"[core]\n\texcludesFile = {home}/ignored\n")
    monkeypatch.setenv("HOME", str(home))
    destination(work / ".env").preflight()
    told = f"{work}/.env is in a git work tree, and git does not ignore it. Add the line .env* to .gitignore."
    assert caplog.messages == ([told] if warned else [])
