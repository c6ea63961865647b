"""Behind the proxies of docs/behind-a-proxy.md, nobody can say where they come from, and nothing follows their Host."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.conftest import Server, Start, leave_out
from tests.e2e.proxies import MUSHU, PROGRAMS, SOURCE, Headers, Owner, ask, owner_on, running, set_password

FORGED: Final = "203.0.113.66"
NAMES: Final = (
    "Mushuclientip", "MUSHUCLIENTIP", "mushuclientip", "mUsHuClIeNtIp", "Mushu-clientip", "Mushu_clientip",
    "Mushu.clientip", "X-Forwarded-For", "X_Forwarded_For", "x_forwarded_for", "X-Forwarded_For", "X.Forwarded.For",
    "X-Real-IP", "X_Real_IP", "Remote-Addr", "Remote_Addr", "Client-IP", "True-Client-IP", "CF-Connecting-IP",
)  # fmt: skip
ATTACKS: Final[dict[str, Headers]] = {
    **{name: [(name, FORGED)] for name in NAMES},
    "Forwarded": [("Forwarded", f"for={FORGED}")],
    "twice": [("Mushuclientip", FORGED), ("mushuclientip", FORGED)],
    "dash, then underscore": [("X-Forwarded-For", "198.51.100.7"), ("X_Forwarded_For", FORGED)],
    "underscore, then dash": [("X_Forwarded_For", FORGED), ("X-Forwarded-For", "198.51.100.7")],
    "a list": [("Mushuclientip", f"{FORGED}, {SOURCE}")],
    "hop by hop": [("Connection", "close, Mushuclientip"), ("Mushuclientip", FORGED)],
    "hop by hop, other case": [("Connection", "MUSHUCLIENTIP")],
}


NONE: Final[Headers] = []


@pytest.fixture(scope="module")
def server(start_once: Start) -> Server:
    names = {"MUSHU_CLIENT_ADDRESS_HEADER": "Mushuclientip", "MUSHU_PUBLIC_URL": "https://keys.example.com"}
    server = start_once(**names).wait_until_up()
    set_password(server)
    return server


@pytest.fixture
def owner(server: Server) -> Owner:
    return owner_on(server)


@pytest.fixture(params=["nginx", "caddy", "haproxy"])
def proxied(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Iterator[int]:
    """The port of a proxy in front of the server."""
    if PROGRAMS[request.param] is None:
        leave_out(f"{request.param} is not installed")
    with running(request.param, tmp_path / request.param, {MUSHU: server.port}) as port:
        yield port


def used_from(owner: Owner, wanted: set[str]) -> dict[str, str]:
    """Return where each key was used from, by its name, once the workers have written it down."""
    for _ in range(100):
        _, listed = ask(owner.server.port, "GET", f"/orgs/{owner.org}/api-keys?limit=100", owner.credential)
        found = {key["name"]: key["last_used_from"] for key in listed["api_keys"] if "last_used_from" in key}
        if wanted <= found.keys():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not written down: {wanted - found.keys()}")


@pytest.mark.fault
def test_a_client_cannot_say_where_it_comes_from(owner: Owner, proxied: int) -> None:
    answered = {}
    for name, forged in ({"honest": NONE} | ATTACKS).items():
        api_key = ("Authorization", f"ApiKey {owner.key(name)}")
        answered[name] = ask(proxied, "GET", f"/orgs/{owner.org}", [*forged, api_key])[0]
    assert answered["honest"] == 200
    let_through = {name for name, status in answered.items() if status == 200}
    assert set(answered.values()) <= {200, 400}
    assert set(answered) - let_through <= {"hop by hop", "hop by hop, other case"}
    found = used_from(owner, let_through)
    assert {found[name] for name in let_through} == {SOURCE}


@pytest.mark.fault
def test_a_header_that_arrives_twice_or_not_at_all_says_nothing(owner: Owner) -> None:
    """As the server itself reads it: no proxy stands between."""
    asked: dict[str, Headers] = {
        "one": [("mUSHUclientip", "198.51.100.7")],
        "two": [("Mushuclientip", "198.51.100.7"), ("mushuclientip", FORGED)],
        "two alike": [("Mushuclientip", FORGED), ("Mushuclientip", FORGED)],
        "look-alikes": [("Mushu_clientip", FORGED), ("Mushu-clientip", FORGED), ("Mushu.clientip", FORGED)],
        "none": NONE,
    }
    for name, headers in asked.items():
        key = ("X-API-Key", owner.key(name))
        assert ask(owner.server.port, "GET", f"/orgs/{owner.org}", [*headers, key])[0] == 200
    assert used_from(owner, set(asked)) == dict.fromkeys(asked, "unknown") | {"one": "198.51.100.7"}


def test_the_look_alikes_of_a_credential_do_not_pass(owner: Owner, proxied: int) -> None:
    path, keys = f"/orgs/{owner.org}", [owner.key("a"), owner.key("b")]
    assert ask(proxied, "GET", path, [("x-aPi-kEy", keys[0])])[0] == 200
    for name in (
        "X_API_Key", "X.API.Key", "x_api_key", "X-API_Key", "X_API-Key", "X-API.Key", "X.API-Key", "X_API.Key",
    ):  # fmt: skip
        status, document = ask(proxied, "GET", path, [(name, keys[0])])
        assert (status, document["code"]) == (401, "missing_credential"), name
        for pair in ([("X-API-Key", keys[0]), (name, "nonsense")], [(name, "nonsense"), ("X-API-Key", keys[0])]):
            assert ask(proxied, "GET", path, pair)[0] == 200, name
    for name in ("Authorization", "X-API-Key"):
        twice = [(name, f"ApiKey {key}" if name == "Authorization" else key) for key in keys]
        assert ask(proxied, "GET", path, twice)[0] in (400, 401), name
