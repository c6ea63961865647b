"""An instance folder that others could change is refused before a word of it is believed."""

import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from mushu.server.config import Settings
from mushu.server.errors import ConfigurationError
from mushu.server.instance import ROOT, prepare_instance

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


def load(instance: Path) -> Settings:
    return Settings.load({"MUSHU_INSTANCE_PATH": str(instance)})


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    """A folder of ours in a folder of ours, with a setting in it."""
    folder = tmp_path / "srv" / "instance"
    folder.parent.mkdir(mode=0o755)
    folder.mkdir(mode=0o700)
    (folder / "settings.toml").write_text('smtp_url = "smtp://mail.example.net"\n')
    return folder


def _open_to_all(instance: Path) -> Path:
    instance.chmod(0o777)
    return instance


def _open_to_all_and_sticky(instance: Path) -> Path:
    instance.chmod(0o1777)
    return instance


def _open_above(instance: Path) -> Path:
    instance.parent.chmod(0o777)
    return instance


def _behind_a_link_in_an_open_folder(instance: Path) -> Path:
    (instance.parents[1] / "open").mkdir()
    (instance.parents[1] / "open").chmod(0o777)
    (instance.parents[1] / "open" / "link").symlink_to(instance)
    return instance.parents[1] / "open" / "link"


def _behind_a_link_to_a_link_in_an_open_folder(instance: Path) -> Path:
    _behind_a_link_in_an_open_folder(instance)
    (instance.parents[1] / "first").symlink_to("open/../open/link")
    return instance.parents[1] / "first"


def _below_an_open_folder_that_a_link_leads_to(instance: Path) -> Path:
    instance.parent.chmod(0o777)
    (instance.parents[1] / "short").symlink_to("srv")
    return instance.parents[1] / "short" / "instance"


def _not_there_yet_in_an_open_folder(instance: Path) -> Path:
    instance.parent.chmod(0o777)
    return instance.parent / "new" / "instance"


OPEN: dict[str, Callable[[Path], Path]] = {
    made.__name__.strip("_").replace("_", " "): made
    for made in (
        _open_to_all,
        _open_to_all_and_sticky,
        _open_above,
        _behind_a_link_in_an_open_folder,
        _behind_a_link_to_a_link_in_an_open_folder,
        _below_an_open_folder_that_a_link_leads_to,
        _not_there_yet_in_an_open_folder,
    )
}


@pytest.mark.fault
@pytest.mark.parametrize("make", OPEN.values(), ids=OPEN)
def test_a_folder_that_others_can_change_is_refused(instance: Path, make: Callable[[Path], Path]) -> None:
    named = make(instance)
    with pytest.raises(ConfigurationError, match="Others may write to") as caught:
        load(named)
    mended = caught.value.detail.rpartition("chmod go-w ")[2]
    Path(mended).chmod(Path(mended).stat().st_mode & 0o755)
    load(named)


@pytest.mark.fault
@as_root
@pytest.mark.parametrize("given", ["srv/instance", "srv"])
def test_a_folder_of_another_account_is_refused(instance: Path, given: str) -> None:
    folder = instance.parents[1] / given
    os.chown(folder, NOBODY, -1)
    with pytest.raises(ConfigurationError, match="belongs to nobody") as caught:
        load(instance)
    assert caught.value.detail.endswith(f"chown root {folder}")
    os.chown(folder, 0, -1)
    load(instance)


@pytest.mark.fault
@as_root
def test_a_link_of_another_account_is_refused(instance: Path) -> None:
    link = instance.parents[1] / "link"
    link.symlink_to(instance)
    os.lchown(link, NOBODY, -1)
    with pytest.raises(ConfigurationError, match="link belongs to nobody"):
        load(link)


@pytest.mark.fault
@as_root
def test_a_folder_that_somebody_made_before_us_is_not_used(instance: Path) -> None:
    """Between the reading of the settings and the making of the folder, in a folder such as /tmp."""
    instance.parent.chmod(0o1777)
    settings = load(instance.parent / "new")
    settings.instance_path.mkdir()
    os.chown(settings.instance_path, NOBODY, -1)
    with pytest.raises(ConfigurationError, match="belongs to nobody"):
        prepare_instance(settings.instance_path, settings.sqlalchemy_url)
    assert list(settings.instance_path.iterdir()) == []


def test_a_group_of_our_own_is_nobody_else(instance: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    us = pwd.getpwuid(os.geteuid()).pw_name
    instance.parent.chmod(0o775)
    for name, members, others in [(us, [], False), (us, [us], False), (us, ["eve"], True), ("staff", [], True)]:
        group = grp.struct_group((name, "x", 1, members))
        monkeypatch.setattr(grp, "getgrgid", lambda _, group=group: group)
        if others:
            with pytest.raises(ConfigurationError, match="Others may write to"):
                load(instance)
        else:
            load(instance)


def test_a_group_and_an_account_without_a_name_are_others(instance: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(grp, "getgrgid", unknown)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    load(instance)
    instance.chmod(0o770)
    with pytest.raises(ConfigurationError, match="Others may write to"):
        load(instance)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises((ConfigurationError, OSError)):
        load(tmp_path / "a")


@pytest.mark.fault
@pytest.mark.parametrize("mode", [0o755, 0o775, 0o750])
def test_a_folder_of_ours_that_others_can_look_into_is_closed(tmp_path: Path, mode: int) -> None:
    (tmp_path / "instance").mkdir()
    (tmp_path / "instance").chmod(mode)
    prepare_instance(tmp_path / "instance", "")
    assert (tmp_path / "instance").stat().st_mode & 0o777 == 0o700


@pytest.mark.fault
def test_the_folder_of_a_checkout_is_closed_however_git_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mushu.server.instance.ROOT", tmp_path)
    (tmp_path / "wsgi.py").touch()
    (tmp_path / "instance").mkdir()
    (tmp_path / "instance").chmod(0o777)
    tmp_path.chmod(0o777)
    settings = Settings.load({})
    prepare_instance(settings.instance_path, settings.sqlalchemy_url)
    assert (tmp_path / "instance").stat().st_mode & 0o777 == 0o700


def test_the_folder_of_this_checkout_is_ours() -> None:
    assert Settings.load({}).instance_path == ROOT / "instance"


ELSEWHERE = ("sealing_keys_file", "media_folder")


def load_with(instance: Path, name: str, path: Path) -> Settings:
    return Settings.load({"MUSHU_INSTANCE_PATH": str(instance), f"MUSHU_{name.upper()}": str(path)})


@pytest.mark.fault
@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("exists", [True, False])
def test_what_settings_name_elsewhere_is_refused_where_others_can_change_it(
    instance: Path, tmp_path: Path, name: str, exists: bool
) -> None:
    named = tmp_path / "elsewhere" / "kept"
    named.parent.mkdir()
    if exists:
        named.mkdir(mode=0o700) if name == "media_folder" else named.touch(0o600)
    named.parent.chmod(0o777)
    with pytest.raises(ConfigurationError, match=f"so change what MUSHU_{name.upper()} names") as caught:
        load_with(instance, name, named)
    assert caught.value.detail.endswith(f"chmod go-w {named.parent}")
    named.parent.chmod(0o755)
    load_with(instance, name, named)


@pytest.mark.fault
@as_root
@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_settings_name_elsewhere_is_refused_where_another_account_has_it(
    instance: Path, tmp_path: Path, name: str
) -> None:
    named = tmp_path / "kept"
    named.mkdir(mode=0o700) if name == "media_folder" else named.touch(0o600)
    os.chown(named, NOBODY, -1)
    with pytest.raises(ConfigurationError, match=f"kept belongs to nobody, who could change what MUSHU_{name.upper()}"):
        load_with(instance, name, named)
    os.chown(named, 0, -1)
    load_with(instance, name, named)


@pytest.mark.fault
def test_a_database_elsewhere_is_refused_where_others_can_change_it(instance: Path, tmp_path: Path) -> None:
    named = tmp_path / "elsewhere" / "mushu.sqlite3"
    named.parent.mkdir()
    named.parent.chmod(0o777)
    environ = {"MUSHU_INSTANCE_PATH": str(instance), "MUSHU_DATABASE_URL": f"sqlite:///{named}?timeout=5"}
    with pytest.raises(ConfigurationError, match="so change what MUSHU_DATABASE_URL names"):
        Settings.load(environ)
    named.parent.chmod(0o755)
    Settings.load(environ)


def test_every_fault_of_what_is_elsewhere_is_told_at_once(instance: Path, tmp_path: Path) -> None:
    environ = {"MUSHU_INSTANCE_PATH": str(instance)}
    for name in ELSEWHERE:
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o777)
        environ[f"MUSHU_{name.upper()}"] = str(tmp_path / name)
    with pytest.raises(ConfigurationError, match=r"MUSHU_SEALING_KEYS_FILE names[\s\S]*MUSHU_MEDIA_FOLDER names"):
        Settings.load(environ)
