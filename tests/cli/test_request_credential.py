"""The services take the API key of the environment, or else the login."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from mushu.cli import session
from mushu.cli.commands import auth
from mushu.keyformat import Prefix, generate
from tests.cli.conftest import ORG, TOKEN, Mushu, Served, log_in, login_answer
from tests.cli.stub import Stub

MakeKey = Callable[..., str]

KEY = generate(Prefix.LIVE_KEY).reveal()
SERVICES = [
    ("tenant", "list"),
    ("push", "list", "-t", "tenant_1"),
    ("media", "list"),
    ("device", "list", "-t", "tenant_1"),
]
MISTYPED_KEY = KEY[:-1] + ("a" if KEY[-1] != "a" else "b")


@pytest.fixture
def make_key(served: Served, mushu: Mushu, acme: str, monkeypatch: pytest.MonkeyPatch) -> MakeKey:
    """Have a new key made and put into the environment, and return it."""

    def make(env: str = "live", scopes: str = "read,write,admin") -> str:
        monkeypatch.delenv("MUSHU_API_KEY", raising=False)
        ran = mushu("api-key", "create", "--name", "k", "--org", acme, "--env", env, "--scopes", scopes)
        key: str = ran.json["key"]
        monkeypatch.setenv("MUSHU_API_KEY", key)
        return key

    return make


def test_a_key_in_the_environment_needs_no_login_and_no_organization(
    mushu: Mushu, make_key: MakeKey, acme: str
) -> None:
    make_key()
    assert mushu("auth", "logout").code == 0
    created = mushu("tenant", "create", "--bundle-id", "com.example.shop").ok()
    assert (created.json["org_id"], created.json["environment"]) == (acme, "live")
    assert [row[0] for row in mushu("tenant", "list").rows[1:]] == [created.json["tenant_id"]]
    assert mushu("tenant", "list", "--org", "acme").code == 0
    assert mushu("org", "list").code == 1, "what is about the user needs the user"


def test_a_test_key_works_in_the_sandbox_by_itself_and_nowhere_else(mushu: Mushu, make_key: MakeKey, acme: str) -> None:
    live = mushu("tenant", "create", "--bundle-id", "com.example.shop", "--org", acme).json["tenant_id"]
    make_key("test")
    created = mushu("tenant", "create", "--bundle-id", "com.example.shop")
    assert created.json["environment"] == "test"
    listed = mushu("tenant", "list", "--json").json
    assert [row["tenant_id"] for row in listed] == [created.json["tenant_id"]]
    mushu("tenant", "show", live).fails(f"There is no tenant {live} (test), or you may not see it.")
    mushu("tenant", "create", "--bundle-id", "com.example.shop", "--env", "live").fails(
        "--env live does not go with the key in MUSHU_API_KEY", code=2
    )


def test_what_is_no_key_is_not_sent_and_not_repeated(
    mushu: Mushu, asking: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("hunter2", TOKEN, MISTYPED_KEY, "msk_live_short"):
        monkeypatch.setenv("MUSHU_API_KEY", text)
        ran = mushu("tenant", "list", "--org", ORG).fails(
            "MUSHU_API_KEY holds no API key, or one that is mistyped or cut short."
        )
        assert text not in ran.stderr
    assert asking.asked == []


def test_a_key_that_is_refused_is_named_by_where_it_stands(mushu: Mushu, make_key: MakeKey, acme: str) -> None:
    key = make_key()
    listed = mushu("api-key", "list", "--json", "--org", acme).json
    assert mushu("api-key", "delete", listed[0]["key_id"], "--org", acme, "--yes").code == 0
    ran = mushu("tenant", "list").fails()
    assert ran.stderr == ("Error: This API key was deleted. Create a new one. The key is the one in MUSHU_API_KEY.\n")
    assert key not in ran.stderr


def test_a_key_that_lacks_a_scope_is_told_so(mushu: Mushu, make_key: MakeKey) -> None:
    make_key(scopes="read")
    mushu("tenant", "create", "--bundle-id", "com.example.shop").fails("This needs the scope admin")


def test_what_is_about_keys_is_asked_as_the_user_whatever_the_environment_holds(
    mushu: Mushu, asking: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSHU_API_KEY", "whatever")
    asking.tell("GET", "/orgs", {"orgs": []})
    assert mushu("org", "list").code == 0
    assert asking.asked[-1].headers["authorization"] == f"Bearer {TOKEN}"


def test_a_key_of_more_than_one_organization_is_none_of_ours(
    mushu: Mushu, asking: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSHU_API_KEY", KEY)
    asking.tell("GET", "/orgs", {"orgs": []})
    assert "an API key belongs to one organization" in mushu("tenant", "list").stderr


@pytest.fixture
def anybody(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Stub:
    """Whatever process happens to listen at the default address, and answers as a server would."""
    monkeypatch.setattr(session, "DEFAULT_URL", stub.url)
    monkeypatch.setenv("MUSHU_API_KEY", KEY)
    stub.tell("GET", "/orgs", {"orgs": [{"org_id": ORG}]})
    stub.tell("GET", f"/orgs/{ORG}/tenants", {"tenants": [], "next_cursor": None})
    return stub


@pytest.mark.parametrize("command", SERVICES, ids=" ".join)
def test_a_key_is_sent_to_no_address_that_nobody_has_named(mushu: Mushu, anybody: Stub, command: list[str]) -> None:
    ran = mushu(*command).fails("The key in MUSHU_API_KEY is sent only to a server that you name.", code=2)
    for way_out in ("--url URL", "MUSHU_URL", "mushu config set url URL"):
        assert way_out in ran.stderr
    assert KEY not in ran.stderr
    assert anybody.asked == []


def test_a_login_at_the_default_address_does_not_name_it_for_a_key(mushu: Mushu, anybody: Stub) -> None:
    log_in(anybody.url)
    assert mushu("tenant", "list").code == 2
    assert anybody.asked == []


@pytest.mark.parametrize("way", ["--url", "MUSHU_URL", "config"])
def test_a_key_goes_to_the_server_that_was_named_in_any_of_the_ways(
    mushu: Mushu, anybody: Stub, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "MUSHU_URL":
        monkeypatch.setenv("MUSHU_URL", anybody.url)
    if way == "config":
        assert mushu("config", "set", "url", anybody.url).code == 0
    mushu("tenant", "list", *(["--url", anybody.url] if way == "--url" else [])).ok()
    assert {asked.headers["authorization"] for asked in anybody.asked} == {f"ApiKey {KEY}"}


def test_a_password_that_nobody_types_is_sent_to_no_address_that_nobody_has_named(mushu: Mushu, anybody: Stub) -> None:
    mushu("auth", "login", "--email", "a@b.c", "--password-stdin", stdin="hunter2\n").fails(
        "A password is sent only to a server that you name.", code=2
    )
    assert anybody.asked == []


def test_who_types_a_password_is_told_which_server_gets_it(
    mushu: Mushu, anybody: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def at_a_terminal(question: str, **_: object) -> str:
        asked.append(question)
        return "hunter2"

    monkeypatch.setattr("click.prompt", at_a_terminal)
    monkeypatch.setattr(auth, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    anybody.tell("POST", "/auth/login", login_answer())
    assert mushu("auth", "login", "--email", "a@b.c").code == 0
    assert asked == [f"Password of a@b.c at {anybody.url}"]
