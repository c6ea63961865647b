from pathlib import Path

import pytest

from mushu.address import DEFAULT_URL
from tests.cli.conftest import ORG, Mushu, log_in


def test_what_is_in_force_is_shown_with_where_it_comes_from(
    mushu: Mushu, config_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mushu("config", "show").rows[:3] == [
        ["SETTING", "VALUE", "FROM"],
        ["url", DEFAULT_URL, "default"],
        ["org", "-", "-"],
    ]
    mushu("config", "set", "url", "https://Keys.example.com:443/")
    assert mushu("config", "show").rows[1] == ["url", "https://keys.example.com", "mushu config set url"]
    monkeypatch.setenv("MUSHU_URL", "https://env.example.com")
    assert mushu("config", "show").rows[1] == ["url", "https://env.example.com", "MUSHU_URL"]
    assert mushu("config", "show", "--url", "https://o.example.com").rows[1][2] == "--url"
    log_in("https://a.example.com")
    assert mushu("config", "show", "--json").json == {
        "url": "https://env.example.com",
        "org": None,
        "tenant": None,
        "logins": ["https://a.example.com"],
        "folder": str(config_folder),
    }


def test_the_organization_is_set_for_the_server_in_force_and_taken_back(mushu: Mushu) -> None:
    assert mushu("config", "set", "org", ORG).stdout == f"org is {ORG}.\n"
    assert mushu("config", "show", "--json").json["org"] == ORG
    assert mushu("config", "show", "--json", "--url", "https://o.example.com").json["org"] is None
    assert mushu("config", "set", "org", "", "--json").json == {"org": None}
    assert mushu("config", "show", "--json").json["org"] is None
    assert mushu("config", "set", "tenant", "tenant_1").stdout == "tenant is tenant_1.\n"
    assert mushu("config", "show").rows[3] == ["tenant", "tenant_1", "mushu tenant use"]
    assert mushu("config", "set", "url", "").stdout == "url is not set any more.\n"


@pytest.mark.parametrize(
    ("key", "value"), [("url", "ftp://x"), ("url", "x"), ("org", "a b"), ("org", ".."), ("colour", "red")]
)
def test_a_setting_that_is_none_or_has_no_such_value_is_a_usage_error(mushu: Mushu, key: str, value: str) -> None:
    assert mushu("config", "set", key, value).code == 2
    assert mushu("config", "show", "--json").json["url"] == DEFAULT_URL


def test_a_wrong_address_in_the_environment_is_a_failure_that_names_the_variable(
    mushu: Mushu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSHU_URL", "https://user:secret@example.com")
    assert "secret" not in mushu("config", "show").fails("neither a user nor a query. See MUSHU_URL.").stderr


def test_a_wrong_address_in_an_option_is_a_usage_error(mushu: Mushu) -> None:
    mushu("config", "show", "--url", "example.com").fails("looks like https://mushu.example.com", code=2)
