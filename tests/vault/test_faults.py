"""The proxy before the real server: what it spoils, and what it hides."""

import re
from collections.abc import Iterator
from http.client import HTTPConnection, RemoteDisconnected
from typing import Any

import pytest

from tests.vault.bao import Address
from tests.vault.server import VaultStub
from tests.vault.upstream import Answer

_APP = "secret/data/app"


@pytest.fixture
def stub(openbao: Address) -> Iterator[VaultStub]:
    with VaultStub(openbao) as stub:
        yield stub


def _ask(stub: VaultStub, method: str = "GET", path: str = _APP, body: bytes | None = None) -> Answer:
    connection = HTTPConnection(stub.address.removeprefix("http://"), timeout=10)
    try:
        connection.request(method, f"/v1/{path}", body, {"X-Vault-Token": stub.root_token})
        response = connection.getresponse()
        return Answer(response.status, response.read(), dict(response.getheaders()))
    finally:
        connection.close()


def _write(stub: VaultStub, number: int) -> Answer:
    return _ask(stub, "POST", body=b'{"data": {"a": %d}}' % number)


def _kept(stub: VaultStub) -> list[Any]:
    state = stub.kv("secret", "app") or {"versions": {}}
    return [version["data"] for version in state["versions"].values()]


@pytest.mark.parametrize(
    ("kind", "status", "shown", "kept"),
    [
        ("cut-before", 0, "", 1),
        ("cut-after", 0, "", 2),
        ("error-before", 502, "bad gateway", 1),
        ("error-after", 502, "bad gateway", 2),
        ("body-before", 200, "} {}$", 1),
        ("body-after", 200, "} {}$", 2),
        ("redirect", 307, "'Location': 'https://x.example/'", 1),
        ("errors-in-200", 200, "bad gateway", 1),
        ("rate-limit", 429, "'Retry-After': '3'", 1),
        ("invalid-json", 200, '"request_id":.*[^}]$', 2),
        ("html", 200, "'Content-Type': 'text/html'.*<html>", 2),
        ("huge", 200, '"x{1000}"', 2),
        ("lost", 200, '"version":2.*}$', 1),
    ],
)
def test_an_answer_is_spoiled_once_and_the_work_is_done_or_not(
    stub: VaultStub, kind: Any, status: int, shown: str, kept: int
) -> None:
    _write(stub, 1)
    how = {"text": "bad gateway", "location": "https://x.example/", "size": 1000, "body": b"{}"}
    fault = stub.fault(kind, "POST", _APP, status=502, seconds=3, **how)
    if status:
        answer = _write(stub, 2)
        assert re.search(shown, f"{answer.headers} {answer.body.decode().strip()}")
    else:
        with pytest.raises(RemoteDisconnected):
            _write(stub, 2)
    assert [entry.status for entry in stub.requests] == [200, status]
    assert (fault.hits, _kept(stub)) == (1, [{"a": 1}, {"a": 2}][:kept])
    assert _write(stub, 3).status == 200


def test_a_stale_read_shows_what_was_there_when_it_was_planned(stub: VaultStub) -> None:
    _write(stub, 1)
    stub.ask("POST", "secret/metadata/app", {"custom_metadata": {"owner": "x"}})
    stub.put("plain", "b/c", {"b": 1})
    stub.fault("stale", "GET", times=3)
    _write(stub, 2)
    stub.put("plain", "b/c", {"b": 2})
    stub.put("secret", "new", {})
    assert b'"data":{"a":1}' in _ask(stub).body
    assert b'"b":1' in _ask(stub, path="plain/b/c").body
    assert _ask(stub, path="secret/data/new").status == 404
    assert _kept(stub) == [{"a": 1}, {"a": 2}]
    assert stub.ask("GET", "secret/metadata/app")["data"]["custom_metadata"] == {"owner": "x"}
    assert b'"b":2' in _ask(stub, path="plain/b/c").body


def test_versions_are_put_back_whatever_became_of_them(stub: VaultStub) -> None:
    for number in range(12):
        _write(stub, number)
    stub.ask("POST", "secret/delete/app", {"versions": [11]})
    stub.ask("POST", "secret/destroy/app", {"versions": [10]})
    before = stub.snapshot()
    _write(stub, 12)
    stub.restore(before)
    states = [
        [(name, kept["data"], kept["destroyed"], not kept["deletion_time"]) for name, kept in versions.items()]
        for versions in (shot["secret"]["app"]["versions"] for shot in (before, stub.snapshot()))
    ]
    assert states[0] == states[1]
    assert len(states[0]) == 10


def test_a_fault_waits_for_its_turn_and_ends(stub: VaultStub) -> None:
    fault = stub.fault("error-before", "GET", "secret/*", times=2, skip=1)
    _write(stub, 1)
    assert [_ask(stub).status for _ in range(4)] == [200, 500, 500, 200]
    assert fault.hits == 2


def test_nobody_sees_the_namespace_of_a_stub(openbao: Address, stub: VaultStub) -> None:
    with VaultStub(openbao) as other:
        _write(stub, 1)
        assert _ask(other).status == 404
    connection = HTTPConnection(stub.address.removeprefix("http://"), timeout=10)
    connection.request("GET", "/v1/auth/token/lookup-self", headers={"X-Vault-Token": stub.token()})
    answer = connection.getresponse()
    text = f"{answer.headers} {answer.read().decode()}"
    connection.close()
    assert '"namespace_path":""' in text
    assert "stub-" not in text
    assert [(entry.method, entry.path) for entry in stub.requests] == [
        ("POST", _APP),
        ("GET", "auth/token/lookup-self"),
    ]


def test_a_stub_that_is_gone_answers_no_connection_that_was_kept(openbao: Address) -> None:
    with VaultStub(openbao) as stub:
        connection = HTTPConnection(stub.address.removeprefix("http://"), timeout=10)
        connection.request("GET", f"/v1/{_APP}")
        assert connection.getresponse().read()
    with pytest.raises(OSError):  # noqa: PT011
        connection.request("GET", f"/v1/{_APP}")
        connection.getresponse()
    connection.close()
