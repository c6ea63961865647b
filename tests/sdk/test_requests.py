"""Requests that really travel: to the real server, and to a stub where what comes back is strange."""

import asyncio
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest

import mushu
from mushu.core import Client
from mushu.core.api.api_keys import create_api_key, list_api_keys, show_api_key
from mushu.core.api.auth import login
from mushu.core.api.health import health
from mushu.core.api.organizations import create_organization
from mushu.core.errors import UnexpectedStatus
from mushu.core.models import CreatedKey, KeyList, Login, LoginAnswer, NewKey, Org, OrgName, Problem
from mushu.environment import Environment as KeyEnvironment
from mushu.server.keys import Scope
from tests.cli.certificates import certificates
from tests.cli.conftest import Served
from tests.cli.stub import Stub, Told, serving
from tests.sdk.conftest import LIVE, TEST, Environment

pytestmark = pytest.mark.unmeasured

PROBLEM = {"type": "urn:mushu:error:broken", "title": "Broken", "status": 500, "detail": "It broke.", "code": "broken"}
_KIND = "application/problem+json"


def admin_key(served: Served, environment: KeyEnvironment = KeyEnvironment.LIVE) -> tuple[str, str]:
    """Return the id of a new organization and a key with which its keys are managed."""
    org = served.world.org()
    return org.id, served.world.key(org, Scope.ADMIN, environment=environment)[1]


def test_a_key_creates_lists_and_shows_keys(served: Served) -> None:
    org_id, key = admin_key(served)
    with mushu.client("core", api_key=key) as client:
        ends = datetime(2027, 1, 15, tzinfo=UTC)
        body = NewKey(name="backend", scopes=["read"], expires_at=ends)
        made = create_api_key.sync(org_id, client=client, body=body)
        assert isinstance(made, CreatedKey)
        assert (made.name, made.scopes, made.environment) == ("backend", ["read"], "live")
        assert made.expires_at == "2027-01-15T00:00:00Z"
        listed = list_api_keys.sync_detailed(org_id, client=client)
        assert listed.status_code == 200
        assert isinstance(listed.parsed, KeyList)
        assert made.key_id in {found.key_id for found in listed.parsed.api_keys}
        assert listed.parsed.next_cursor is None
        first = list_api_keys.sync(org_id, client=client, limit=1)
        assert isinstance(first, KeyList)
        assert isinstance(first.next_cursor, str)
        second = list_api_keys.sync(org_id, client=client, limit=1, cursor=first.next_cursor)
        assert isinstance(second, KeyList)
        assert {found.key_id for page in (first, second) for found in page.api_keys} == {
            found.key_id for found in listed.parsed.api_keys
        }


def test_a_new_key_does_not_show_in_what_the_sdk_prints(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for library in ("httpx", "httpcore"):  # which the server, in this process, has silenced
        caplog.set_level(logging.DEBUG, library)
    org_id, key = admin_key(served)
    with mushu.client("core", api_key=key) as client:
        answer = create_api_key.sync_detailed(org_id, client=client, body=NewKey(name="backend"))
    assert isinstance(answer.parsed, CreatedKey)
    assert isinstance(answer.parsed.key, str)
    for secret in (key, answer.parsed.key):
        assert secret not in repr(answer)
        assert secret not in repr(answer.parsed)
        assert secret not in caplog.text
    assert "httpx" in caplog.text, "the log was on"


def test_a_test_key_meets_test_keys_only(served: Served) -> None:
    org_id, key = admin_key(served, KeyEnvironment.TEST)
    with mushu.client("core", api_key=key) as client:
        made = create_api_key.sync(org_id, client=client, body=NewKey(name="trial"))
    assert isinstance(made, CreatedKey)
    assert made.environment == "test"


def test_a_refusal_is_a_problem_that_says_why(served: Served) -> None:
    org_id, key = admin_key(served)
    with mushu.client("core", api_key=key) as client:
        unknown = show_api_key.sync_detailed(org_id, "key_aaaaaaaaaaaa", client=client)
        wrong = create_api_key.sync(org_id, client=client, body=NewKey(name="x", scopes=["fly"]))
    assert (unknown.status_code, isinstance(unknown.parsed, Problem)) == (404, True)
    assert isinstance(wrong, Problem)
    assert (wrong.status, wrong.code) == (422, "invalid_input")


def test_what_is_open_to_everyone_needs_no_key_and_a_login_becomes_a_client(served: Served) -> None:
    served.world.user("ada@example.com", with_password=True)
    with Client(served.url) as nobody:
        assert health.sync_detailed(client=nobody).status_code == 200
        answer = login.sync(client=nobody, body=Login(email="ada@example.com", password=served.world.password))
    assert isinstance(answer, LoginAnswer)
    assert answer.access_token not in repr(answer)
    assert served.world.password not in repr(Login(email="ada@example.com", password=served.world.password))
    with mushu.client("core", api_key=answer.access_token) as ada:
        assert isinstance(create_organization.sync(client=ada, body=OrgName(name="acme")), Org)


def test_the_same_in_asyncio(served: Served) -> None:
    org_id, key = admin_key(served)

    async def ask() -> KeyList | Problem | None:
        async with mushu.client("core", api_key=key) as client:
            detailed = await list_api_keys.asyncio_detailed(org_id=org_id, client=client)
            assert detailed.parsed == await list_api_keys.asyncio(org_id, client=client)
            return detailed.parsed

    assert isinstance(asyncio.run(ask()), KeyList)


def test_one_client_serves_one_event_loop_after_the_other(served: Served) -> None:
    """As a synchronous view does that calls `asyncio.run` for every request."""
    org_id, key = admin_key(served)
    script = (
        "import asyncio, sys, mushu\n"
        "from mushu.core.api.api_keys import list_api_keys\n"
        "client = mushu.client('core', api_key=sys.stdin.read())\n"
        "async def ask():\n"
        f"    return (await list_api_keys.asyncio_detailed({org_id!r}, client=client)).status_code\n"
        "print([asyncio.run(ask()) for _ in range(3)], len(client._by_loop))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], input=key, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[200, 200, 200] 1\n", "")


def test_one_client_serves_many_threads(stub: Stub) -> None:
    stub.tell("GET", "/orgs/org_a/api-keys", {"api_keys": [], "next_cursor": None})
    with mushu.client("core", api_key=LIVE, base_url=stub.url) as client, ThreadPoolExecutor(8) as threads:
        answers = threads.map(lambda _: list_api_keys.sync("org_a", client=client), range(40))
        assert {isinstance(answer, KeyList) for answer in answers} == {True}
    assert len(stub.asked) == 40


@pytest.mark.parametrize("status", [404, 500, 503, 521])
def test_any_status_with_a_problem_document_is_a_problem(stub: Stub, status: int) -> None:
    stub.tell("GET", "/orgs/org_a/api-keys", Told(PROBLEM, status, {"Content-Type": f"{_KIND}; charset=utf-8"}))
    with mushu.client("core", api_key=LIVE, base_url=stub.url) as client:
        answer = list_api_keys.sync_detailed("org_a", client=client)
    assert answer.status_code == status
    assert isinstance(answer.parsed, Problem)
    assert answer.parsed.detail == "It broke."


@pytest.mark.parametrize(
    "told",
    [
        Told(b"<h1>Bad gateway</h1>", 502, {"Content-Type": "text/html"}),
        Told(b"<h1>Bad gateway</h1>", 502, {"Content-Type": _KIND}),
        Told({"type": "about:blank", "status": 502}, 502, {"Content-Type": _KIND}),
        Told(["no", "object"], 502, {"Content-Type": _KIND}),
        Told({"moved": True}, 307, {"Location": "http://127.0.0.1:9/elsewhere"}),
    ],
    ids=["page", "page in disguise", "problem of a proxy", "list", "redirect"],
)
def test_what_a_proxy_answers_is_not_understood_and_breaks_nothing(stub: Stub, told: Told) -> None:
    stub.tell("GET", "/orgs/org_a/api-keys", told)
    with mushu.client("core", api_key=LIVE, base_url=stub.url) as client:
        answer = list_api_keys.sync_detailed("org_a", client=client)
    assert (answer.status_code, answer.parsed, answer.content) == (told.status, None, told.data())
    assert len(stub.asked) == 1


def test_an_unexpected_status_is_raised_if_asked_for_without_repeating_the_answer(stub: Stub) -> None:
    stub.tell("GET", "/orgs/org_a/api-keys", Told({"key": LIVE}, 418))
    with Client(stub.url, raise_on_unexpected_status=True) as client, pytest.raises(UnexpectedStatus) as raised:
        list_api_keys.sync_detailed("org_a", client=client)  # type: ignore[arg-type]
    assert LIVE not in str(raised.value)
    assert raised.value.status_code == 418


@pytest.mark.parametrize("org_id", ["", ".", ".."])
def test_an_id_cannot_lead_to_another_operation(org_id: str) -> None:
    client = mushu.client("core", api_key=LIVE, base_url="https://mushu.example.com")
    with pytest.raises(ValueError, match="cannot be part of an address"):
        list_api_keys.sync(org_id, client=client)


def test_an_id_is_one_segment_whatever_is_in_it(stub: Stub) -> None:
    with mushu.client("core", api_key=TEST, base_url=stub.url) as client:
        list_api_keys.sync_detailed("a/../b?c#d", client=client)
    assert stub.asked[0].path == "/sandbox/orgs/a%2F..%2Fb%3Fc%23d/api-keys"


def test_no_proxy_sees_a_key_on_its_way_to_this_machine(stub: Stub, environment: Environment) -> None:
    stub.tell("GET", "/orgs/org_a/api-keys", {"api_keys": [], "next_cursor": None})
    environment(HTTP_PROXY="http://127.0.0.1:9", ALL_PROXY="http://127.0.0.1:9")
    with mushu.client("core", api_key=LIVE, base_url=stub.url) as client:
        assert list_api_keys.sync_detailed("org_a", client=client).status_code == 200


def test_a_certificate_of_ones_own_is_named_as_everywhere(environment: Environment) -> None:
    with serving("own") as stub:
        stub.tell("GET", "/orgs/org_a/api-keys", {"api_keys": [], "next_cursor": None})
        with mushu.client("core", api_key=LIVE, base_url=stub.url) as client, pytest.raises(httpx.ConnectError):
            list_api_keys.sync("org_a", client=client)
        environment(SSL_CERT_FILE=str(certificates() / "own.pem"))
        with mushu.client("core", api_key=LIVE, base_url=stub.url) as client:
            assert list_api_keys.sync_detailed("org_a", client=client).status_code == 200


def test_an_error_of_the_network_does_not_show_the_key(stub: Stub) -> None:
    with (
        mushu.client("core", api_key=LIVE, base_url="http://127.0.0.1:9") as client,
        pytest.raises(httpx.ConnectError) as raised,
    ):
        list_api_keys.sync("org_a", client=client)
    assert LIVE not in f"{raised.value!r} {raised.value} {raised.value.request!r} {raised.value.request.headers!r}"
