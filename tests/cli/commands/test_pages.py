"""`mushu open`."""

import json

import pytest

from mushu.cli.client import device_flow
from tests.cli.conftest import ORG, Mushu
from tests.cli.stub import Stub

KEY = "key_aaaaaaaaaaaa"


def test_the_address_is_printed_and_opened_where_there_is_a_browser(
    mushu: Mushu, asking: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(device_flow, "open_browser", opened.append)
    asking.problem("GET", f"/orgs/{ORG}/api-keys/{KEY}", 404, "key_not_found", "No.")
    asking.tell("GET", f"/sandbox/orgs/{ORG}/api-keys/{KEY}", {"key_id": KEY})
    home, page = f"{asking.url}/dashboard/{ORG}/", f"{asking.url}/dashboard/{ORG}/sandbox/keys/{KEY}"
    assert mushu("open", ORG).ok().stdout.strip() == home
    assert opened == []
    monkeypatch.setenv("BROWSER", "true")
    assert mushu("open", "--org", ORG).ok().stdout.strip() == home
    assert mushu("open", KEY, "--org", ORG).ok().stdout.strip() == page
    assert opened == [home, page]
    assert json.loads(mushu("open", KEY, "--org", ORG, "--json").ok().stdout) == {"url": page}
    assert opened == [home, page], "a program asks for the address only"
    secret = mushu("open", "msk_live_secret")
    assert secret.code == 2
    assert "msk_live_secret" not in secret.stdout + secret.stderr
