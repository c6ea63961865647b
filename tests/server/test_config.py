"""Settings: where they come from, and that every fault is named at once."""

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from mushu.server.config import Settings
from mushu.server.errors import ConfigurationError
from mushu.server.instance import ROOT, instance_path, make_private, prepare_instance, secret_key


def load(instance: Path, **environ: str) -> Settings:
    return Settings.load({"MUSHU_INSTANCE_PATH": str(instance)} | environ)


def test_defaults_serve_on_loopback_with_sqlite_in_the_instance_folder_and_are_frozen(tmp_path: Path) -> None:
    settings = load(tmp_path, MUSHU_API_KEY="msk_live_x", MUSHU_VAULT_TIMEOUT="3")  # no settings of the server
    assert (settings.host, settings.port, settings.client_address_header) == ("127.0.0.1", 8000, "")
    assert settings.sqlalchemy_url == f"sqlite:///{tmp_path}/mushu.sqlite3"
    assert settings.base_url == "http://127.0.0.1:8000"
    with pytest.raises(FrozenInstanceError):
        settings.port = 1  # type: ignore[misc]


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('port = 9000\nworkers = 3\nhost = "::1"\n')
    settings = load(tmp_path, MUSHU_PORT="9001", MUSHU_CLIENT_ADDRESS_HEADER="Mushuclientip")
    assert (settings.port, settings.workers, settings.client_address_header) == (9001, 3, "Mushuclientip")
    assert settings.base_url == "http://[::1]:9001"
    assert load(tmp_path, MUSHU_PUBLIC_URL="https://keys.example.com/").base_url == "https://keys.example.com"


def test_every_fault_is_named_at_once_and_the_password_of_a_url_is_not(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("colour = 'red'\n")
    with pytest.raises(ConfigurationError) as caught:
        load(
            tmp_path,
            MUSHU_PORT="many",
            MUSHU_WORKERS="0",
            MUSHU_LOG_LEVEL="LOUD",
            MUSHU_PUBLIC_URL="ftp://x",
            MUSHU_OWNER_EMAIL="nobody",
            MUSHU_DATABASE_URL="mysql://root:hunter2@db/x",
        )
    text = caught.value.detail
    for part in ("MUSHU_PORT", "MUSHU_WORKERS", "LOG_LEVEL", "PUBLIC_URL", "OWNER_EMAIL", "DATABASE_URL", "'colour'"):
        assert part in text
    assert "hunter2" not in text


def test_validate_names_the_faults_of_settings_made_by_hand(tmp_path: Path) -> None:
    Settings(instance_path=tmp_path).validate()
    with pytest.raises(ConfigurationError, match="MUSHU_PORT"):
        Settings(instance_path=tmp_path, port=0).validate()


@pytest.mark.parametrize("content", [b"port = ", b"\xff\xfe", b"port = 1\nport = 2\n"])
def test_a_settings_file_that_cannot_be_read_is_a_fault(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "settings.toml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"settings\.toml cannot be read"):
        load(tmp_path)


@pytest.mark.fault
@pytest.mark.parametrize(
    "content",
    [
        "port = " + "[" * 5_000,
        "port = " + "[" * 3_000 + "]" * 3_000,
        "port = " + "{a=" * 3_000 + "1" + "}" * 3_000,
        "port = " + "1" * 5_000,
        "port = 0x" + "f" * 5_000,
        "host = 0x" + "f" * 5_000,
        "host = ['::1']",
    ],
    ids=["open lists", "lists", "tables", "digits", "hexadecimal digits", "digits for a text", "list"],
)
def test_a_settings_file_that_holds_what_no_setting_is_is_a_fault(tmp_path: Path, content: str) -> None:
    (tmp_path / "settings.toml").write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path)
    assert len(str(caught.value)) < len(str(tmp_path)) + 300


@pytest.mark.fault
@pytest.mark.parametrize(
    "url",
    [
        "http://[",
        "https://user@host",
        "https://",
        "keys.example.com",
        "https://keys.example.com:99999",
        "https://keys.example.com:0",
        "https://keys.example.com:x",
        "https://keys.example.com/?x=1",
        "https://keys.example.com/#x",
        "https://keys.example.com, evil.example",
        "https://keys.example.com\r\nX-Evil: 1",
        "https://:password@keys.example.com",
        "https://k\u00e9ys.example.com",
    ],
)
def test_a_public_url_that_links_could_not_begin_with_is_a_fault(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="PUBLIC_URL"):
        load(tmp_path, MUSHU_PUBLIC_URL=url)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
        ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
    ],
)
def test_a_postgresql_url_is_spoken_to_with_psycopg_3(tmp_path: Path, given: str, used: str) -> None:
    assert load(tmp_path, MUSHU_DATABASE_URL=given).sqlalchemy_url == used


def test_the_instance_folder_is_that_of_the_checkout_unless_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert instance_path({}) == ROOT / "instance"
    assert instance_path({"MUSHU_INSTANCE_PATH": str(tmp_path)}) == tmp_path


@pytest.mark.fault
def test_an_installed_mushu_takes_the_folder_of_its_account_and_none_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mushu.server.instance.ROOT", tmp_path / "site-packages")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    (tmp_path / "instance").mkdir(mode=0o700)
    (tmp_path / "instance" / "settings.toml").write_text("port = 1\n")
    monkeypatch.chdir(tmp_path)
    assert instance_path({}) == tmp_path / "home" / ".local" / "share" / "mushu" / "instance"
    assert Settings.load({}).port == 8000


@pytest.mark.fault
def test_a_path_that_is_another_one_in_another_folder_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="MUSHU_INSTANCE_PATH must be an absolute path, not 'instance'"):
        Settings.load({"MUSHU_INSTANCE_PATH": "instance"})
    monkeypatch.setattr("mushu.server.instance.ROOT", tmp_path / "site-packages")
    monkeypatch.setattr("platformdirs.user_data_path", lambda *_, **__: Path("data"))  # as it was with older ones
    with pytest.raises(ConfigurationError, match="XDG_DATA_HOME must be an absolute path, not 'data"):
        Settings.load({})


@pytest.mark.fault
@pytest.mark.parametrize(
    "url", ["sqlite:///mushu.sqlite3", "sqlite:///./x", "sqlite+pysqlite:///x", "sqlite://", "sqlite:///:memory:"]
)
def test_a_database_of_the_current_folder_is_a_fault(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL must name an absolute path"):
        load(tmp_path, MUSHU_DATABASE_URL=url)


@pytest.mark.fault
@pytest.mark.parametrize("path", ["a?b/x.db", "a%b/x.db", "a?b=c/x.db&d", "a?x.db"])
def test_a_path_that_would_be_cut_off_in_the_url_of_a_database_is_a_fault(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigurationError, match="must have %3F for each"):
        load(tmp_path, MUSHU_DATABASE_URL=f"sqlite:///{tmp_path}/{path}")
    with pytest.raises(ConfigurationError, match="DATABASE_URL must look like postgresql") as caught:
        load(tmp_path, MUSHU_DATABASE_URL="postgresql://u:hunter2@h:port/d")
    assert "hunter2" not in caught.value.detail


@pytest.mark.fault
@pytest.mark.parametrize("form", ["sqlite:///{}?timeout=5", "sqlite+pysqlite:///{}"])
def test_a_database_that_a_setting_names_is_private_under_its_own_name(tmp_path: Path, form: str) -> None:
    settings = load(tmp_path / "new", MUSHU_DATABASE_URL=form.format(f"{tmp_path}/a%3Fb.db"))
    prepare_instance(settings.instance_path, settings.sqlalchemy_url)
    assert (tmp_path / "a?b.db").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"new", "a?b.db"}


def test_a_new_instance_is_readable_by_its_account_only(tmp_path: Path) -> None:
    settings = load(tmp_path / "new")
    prepare_instance(settings.instance_path, settings.sqlalchemy_url)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()}
    assert modes == {"secret_key": 0o600, "mushu.sqlite3": 0o600}
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_secrets_are_generated_once_and_differ_between_instances(tmp_path: Path) -> None:
    first, second = load(tmp_path / "a"), load(tmp_path / "b")
    for settings in (first, second, first):
        prepare_instance(settings.instance_path, settings.sqlalchemy_url)
        prepare_instance(settings.instance_path, settings.sqlalchemy_url)
    assert len(secret_key(first.instance_path)) >= 48
    assert secret_key(first.instance_path) != secret_key(second.instance_path)


def test_an_instance_that_was_never_set_up_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="script/up"):
        secret_key(load(tmp_path).instance_path)


def test_a_private_file_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert not make_private(tmp_path / "link", "secret")
    assert not (tmp_path / "elsewhere").exists()


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    for field in fields(Settings):
        assert f"`MUSHU_{field.name.upper()}`" in page, f"{field.name} is missing in docs/settings.md"


@pytest.mark.fault
@pytest.mark.parametrize("given", ["1", "0", "", "many"])
def test_a_setting_that_is_gone_is_refused_and_names_what_stands_in_its_place(tmp_path: Path, given: str) -> None:
    with pytest.raises(ConfigurationError, match=r"MUSHU_TRUSTED_PROXIES is gone.*MUSHU_CLIENT_ADDRESS_HEADER"):
        load(tmp_path, MUSHU_TRUSTED_PROXIES=given)
    (tmp_path / "settings.toml").write_text("trusted_proxies = 1\n")
    with pytest.raises(ConfigurationError, match=r"MUSHU_TRUSTED_PROXIES is gone.*docs/behind-a-proxy\.md"):
        load(tmp_path)


@pytest.mark.fault
@pytest.mark.parametrize("name", ["X-Forwarded-For", "X_Forwarded_For", "X.Real.IP", "Host", "Mushu clientip"])
def test_a_header_that_cannot_carry_an_address_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="MUSHU_CLIENT_ADDRESS_HEADER"):
        load(tmp_path, MUSHU_CLIENT_ADDRESS_HEADER=name)
