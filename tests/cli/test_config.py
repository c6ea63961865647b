import json
import os
import stat
from pathlib import Path

import pytest

from mushu.cli import config
from mushu.cli.credential_store import find_login, servers
from mushu.cli.errors import Failure
from mushu.testing.leaks import traces
from tests.cli.conftest import TOKEN, Mushu, log_in

URL = "http://127.0.0.1:8000"
NOBODY = 65534
#: Can be read, and not be written again.
DEEP = b'{"a":' + b"[" * 800 + b"]" * 800 + b"}"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_the_platform_s_configuration_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config.folder() == tmp_path / "mushu"


def test_nothing_is_made_by_looking(config_folder: Path) -> None:
    assert find_login(URL) is None
    assert config.read(config.CONFIG) == {}
    assert not config_folder.exists()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_token_is_private_whatever_the_umask(config_folder: Path, umask: int) -> None:
    config_folder.mkdir(parents=True, mode=0o700)
    former = os.umask(umask)
    try:
        log_in(URL)
    finally:
        os.umask(former)
    assert _mode(config_folder / "credentials.json") == 0o600


def test_a_file_or_folder_that_others_could_read_or_write_to_is_mended_with_a_note(
    config_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log_in(URL)
    (config_folder / "credentials.json").chmod(0o644)
    assert find_login(URL) is not None
    assert _mode(config_folder / "credentials.json") == 0o600
    assert "could be read by others. It is 0600 now" in capsys.readouterr().err
    config_folder.chmod(0o777)
    log_in(URL)
    assert _mode(config_folder) == 0o700
    assert "could be written to by others. It is 0700 now." in capsys.readouterr().err


def test_no_temporary_file_is_left(config_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(URL)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failure, match=r"cannot be written \(No space left on device\). Nothing was changed.") as caught:
        log_in("http://127.0.0.1:8001")
    assert servers() == [URL]
    assert sorted(path.name for path in config_folder.iterdir()) == [".lock", "credentials.json"]
    trace = caught.value.__traceback__
    while trace and trace.tb_frame.f_code.co_name != "changing":
        trace = trace.tb_next
    caught.value.__traceback__ = trace
    assert not [text for text in traces(caught.value) if TOKEN in text]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b" " * (2 << 20), DEEP], ids=range(7))
def test_a_file_that_is_not_mushu_s_has_a_sentence(mushu: Mushu, config_folder: Path, content: bytes) -> None:
    log_in(URL)
    for name, command in (("credentials.json", ["auth", "token"]), ("config.json", ["config", "set", "url", URL])):
        (config_folder / name).write_bytes(content)
        mushu(*command).fails(f"{name} is not what mushu writes. Remove it and run `mushu auth login` again.")


def test_a_file_that_cannot_be_read_has_a_sentence(
    mushu: Mushu, config_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: str | Path, flags: int, mode: int = 0o777) -> int:
        if str(path).endswith(".json"):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    mushu("auth", "token").fails("cannot be read (Permission denied). See its owner and permissions.")


def test_a_folder_or_a_pipe_in_the_place_of_the_file_does_not_hold_mushu_up(mushu: Mushu, config_folder: Path) -> None:
    config_folder.mkdir(parents=True)
    os.mkfifo(config_folder / "credentials.json")
    assert "is not what mushu writes" in mushu("auth", "token").stderr
    (config_folder / "credentials.json").unlink()
    (config_folder / "credentials.json").mkdir()
    assert "is not what mushu writes" in mushu("auth", "token").stderr


def test_a_folder_that_cannot_be_made_has_a_sentence(mushu: Mushu, config_folder: Path) -> None:
    config_folder.parent.mkdir(parents=True, exist_ok=True)
    config_folder.write_text("a file")
    ran = mushu("config", "set", "url", "").fails()
    assert "Nothing can be kept in" in ran.stderr or "cannot be read" in ran.stderr


@pytest.mark.parametrize(
    "kept", [7, {}, {"token": 7}, {"token": "a\r\nX: 1"}, {"token": "\x1b[2J"}, {"token": ""}, None], ids=str
)
def test_a_login_that_was_tampered_with_is_none(config_folder: Path, kept: object) -> None:
    log_in(URL)
    (config_folder / "credentials.json").write_text(json.dumps({URL: kept}))
    assert find_login(URL) is None


def test_a_login_without_its_particulars_is_one(config_folder: Path) -> None:
    log_in(URL)
    (config_folder / "credentials.json").write_text(json.dumps({URL: {"token": TOKEN, "email": 7}}))
    login = find_login(URL)
    assert login is not None
    assert (login.token.reveal(), login.email) == (TOKEN, "")
    assert TOKEN not in repr(login)


def test_config_of_the_wrong_kind_is_as_good_as_none(mushu: Mushu, config_folder: Path) -> None:
    log_in(URL)
    (config_folder / "config.json").write_text(json.dumps({"url": 7, "orgs": "x"}))
    assert mushu("config", "show", "--json").json["url"] == URL
    assert mushu("config", "set", "org", "org_1").code == 0
    assert mushu("config", "show", "--json").json["org"] == "org_1"


def _give_away(path: Path) -> Path:
    os.chown(path, NOBODY, NOBODY)
    return path


@pytest.mark.fault
@as_root
@pytest.mark.parametrize("name", ["config.json", "credentials.json", "."])
def test_what_another_user_wrote_is_not_believed(mushu: Mushu, config_folder: Path, name: str) -> None:
    """As root with the HOME of somebody else, such as a service that was made to keep it."""
    log_in(URL)
    (config_folder / "config.json").write_text(json.dumps({"url": URL}))
    given = _give_away(config_folder / name)
    ran = mushu("auth", "token").fails(f"{given} belongs to nobody, who chose what is in it.", f"chown root {given}")
    assert TOKEN not in ran.stdout + ran.stderr


@pytest.mark.fault
@as_root
def test_nothing_is_made_in_a_folder_of_another_user(mushu: Mushu, config_folder: Path) -> None:
    config_folder.mkdir(parents=True)
    _give_away(config_folder)
    mushu("config", "set", "url", URL).fails("belongs to nobody")
    assert list(config_folder.iterdir()) == []


@pytest.mark.fault
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666], ids=oct)
def test_what_others_could_write_is_not_believed(mushu: Mushu, config_folder: Path, mode: int) -> None:
    log_in(URL)
    (config_folder / "credentials.json").chmod(mode)
    ran = mushu("auth", "token").fails(
        "can be written to by others, who may have chosen what is in it.",
        f"chmod go-w {config_folder / 'credentials.json'}",
    )
    assert TOKEN not in ran.stdout + ran.stderr


@pytest.mark.fault
@as_root
def test_under_sudo_the_caller_is_believed_and_keeps_the_files(
    mushu: Mushu, config_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(URL)
    for path in (config_folder, *config_folder.iterdir()):
        _give_away(path)
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    assert TOKEN in mushu("auth", "token").stdout
    log_in("http://127.0.0.1:8001")
    (config_folder / ".lock").unlink()
    assert mushu("config", "set", "url", URL).code == 0
    assert {path.name for path in config_folder.iterdir()} == {".lock", "config.json", "credentials.json"}
    assert {path.stat().st_uid for path in config_folder.iterdir()} == {NOBODY}


@as_root
@pytest.mark.parametrize("caller", ["", "0", "12", "-1", "65534x", "²"])
def test_any_other_caller_changes_nothing(
    mushu: Mushu, config_folder: Path, monkeypatch: pytest.MonkeyPatch, caller: str
) -> None:
    log_in(URL)
    _give_away(config_folder / "credentials.json")
    monkeypatch.setenv("SUDO_UID", caller)
    assert "belongs to nobody" in mushu("auth", "token").stderr


def test_without_root_the_variable_of_sudo_says_nothing(config_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(URL)
    owner = config_folder.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    monkeypatch.setenv("SUDO_UID", str(owner))
    if owner == 0:  # who is trusted anyway
        for path in (config_folder, *config_folder.iterdir()):
            _give_away(path)
        monkeypatch.setenv("SUDO_UID", str(NOBODY))
    with pytest.raises(Failure, match="belongs to"):
        find_login(URL)
