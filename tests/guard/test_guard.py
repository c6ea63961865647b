"""`mushu.guard` lets good keys pass and nothing else: with the real server, and where that is away or lies."""

import json
import logging
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from mushu.environment import Environment
from mushu.guard import PEER, Guard, VerifiedKey, verification
from mushu.guard.connection import MushuConnection
from mushu.keyformat import Prefix, generate
from mushu.sdk import BadAddress, BadCredential
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import reading, writing
from mushu.server.errors import AmbiguousCredential, MalformedCredential, MissingCredential, MistypedCredential
from mushu.server.keys import Scope, parse_networks
from mushu.server.keys.service import change_state, get_key, restrict_key
from mushu.server.keys.states import DELETE
from mushu.server.rate_limits import parse_limits
from mushu.server.usage.report import usage_of
from mushu.server.web.extensions import recorder_of
from tests.cli.certificates import certificates
from tests.cli.stub import serving
from tests.guard.asgi import ask_asgi
from tests.guard.conftest import ASKER, KEY, Heard, Liar, MakeGuard, Served, answered, ask_wsgi, verified


def test_a_key_passes_until_it_is_deleted_and_only_with_its_scope_organization_and_environment(
    served: Served, guards: MakeGuard, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    world, org = served.world, served.world.org()
    guard = guards(served.url, key=world.key(org, Scope.READ)[1], scope="write", client_address=PEER)
    stored, key = world.key(org, Scope.READ, Scope.WRITE)
    _, reader = world.key(org, Scope.READ)
    _, test = world.key(org, environment=Environment.TEST)
    _, foreign = world.key(world.org())
    token = world.token(world.owner_of(org))
    for ask in (ask_wsgi, ask_asgi):
        for sent in ({"x_api_key": key}, {"authorization": f"ApiKey {key}"}, {"authorization": f"bearer {key}"}):
            assert ask(guard, **sent).key == VerifiedKey(stored.id, "k", ("read", "write"), Environment.LIVE, None)
        assert refusal(ask(guard, x_api_key=reader), 403) == "missing_scope"
        assert {refusal(ask(guard, x_api_key=other), 401) for other in (test, foreign)} == {"unknown_credential"}
        assert refusal(ask(guard, authorization=f"Bearer {token}"), 401) == MalformedCredential.code
        assert refusal(ask(guard), 401) == MissingCredential.code
        assert refusal(ask(guard, x_api_key=f"{key[:-1]}!"), 401) == MalformedCredential.code
        assert (
            refusal(ask(guard, x_api_key=key[:-1] + ("0" if key[-1] != "0" else "1")), 401) == MistypedCredential.code
        )
        two = ask(guard, x_api_key=key, authorization=f"Bearer {reader}")
        assert (two.status, two.code, two.key) == (400, AmbiguousCredential.code, None)
    with writing(db.session):
        change_state(db.session, world.clock, SYSTEM, stored.id, DELETE)
    for ask in (ask_wsgi, ask_asgi):
        assert refusal(ask(guard, x_api_key=key), 401) == "deleted_credential"
    recorder_of(served.app).flush()
    with reading(db.session):
        usage = usage_of(db.session, world.clock(), get_key(db.session, stored.id))
    assert [address.source for address in usage.addresses] == ["198.51.100.7"]
    for secret in (key, reader, test, foreign, token):
        assert secret not in caplog.text


def test_a_key_beyond_its_limit_is_told_when_to_come_again_and_one_from_elsewhere_is_refused(
    served: Served, guards: MakeGuard
) -> None:
    world, org = served.world, served.world.org()
    guard = guards(served.url, key=world.key(org, Scope.READ)[1], client_address=PEER)
    (limited, text), (bound, other) = world.key(org), world.key(org)
    with writing(db.session):
        for key_id, restrictions in (
            (limited.id, {"limits": parse_limits(["1/hour"])}),
            (bound.id, {"networks": parse_networks(["192.0.2.0/24"])}),
        ):
            restrict_key(db.session, world.clock, SYSTEM, get_key(db.session, key_id), **restrictions)
    assert ask_wsgi(guard, x_api_key=text).status == 200
    over = ask_asgi(guard, x_api_key=text)
    assert (over.status, over.code, over.headers["Retry-After"]) == (429, "rate_limited", "3600")
    assert refusal(ask_wsgi(guard, x_api_key=other), 403) == "wrong_network"


def refusal(heard: Heard, status: int) -> str:
    assert (heard.status, heard.key) == (status, None)
    assert heard.headers["WWW-Authenticate"].startswith("ApiKey")
    assert heard.headers["Cache-Control"] == "no-store"
    assert b"msk_live_" not in heard.body.replace(b"msk_\\u2026", b"")
    return heard.code


@pytest.mark.parametrize("ask", [ask_wsgi, ask_asgi])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"results": [{"valid": true',
        b"HTTP/1.1 200 OK\r\nContent-Len",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        answered(""),
        answered("true"),
        answered("[]"),
        answered("{}"),
        answered('{"results": []}'),
        answered('{"results": [true]}'),
        answered('{"results": [{"valid": false}]}'),
        answered('{"results": [{"valid": "true"}]}'),
        answered('{"results": [{"valid": false, "code": "ok", "valid": true}]}'),
        answered('{"results": [' + ", ".join(['{"valid": true}'] * 2) + "]}"),
        answered("[" * 70_000),
        verified(state="revoked"),
        verified(code="deleted_credential"),
        verified(environment="test"),
        verified(environment=None),
        verified(scopes=["write"]),
        verified(scopes=[]),
        verified(scopes=["read", "root"]),
        verified(scopes="read"),
        verified(key_id="-"),
        verified(name=7),
        verified(expires_at="soon"),
        verified(expires_at="2027-01-15T10:30:00"),
        verified().replace(b"200 OK", b"201 Created"),
        verified().replace(b"200 OK", b"500 Internal Server Error"),
        answered("", "302 Found", "Location: http://127.0.0.1:1/"),
        answered("{}", "401 Unauthorized"),
        answered("{}", "429 Too Many Requests"),
        answered("{}", "503 Service Unavailable"),
    ],
)
def test_nothing_passes_where_mushu_is_silent_or_lies(ask: Any, answer: bytes, liar: Liar, guards: MakeGuard) -> None:
    liar.answer, liar.drops = answer, answer != b""
    heard = ask(guards(liar.url, scope="read", timeout=0.1), x_api_key=KEY)
    assert (heard.status, heard.code, heard.key) == (503, "undecided", None)
    assert heard.headers["Retry-After"] == "5"


@pytest.mark.parametrize("ask", [ask_wsgi, ask_asgi])
def test_nothing_passes_where_mushu_is_away_and_the_log_says_what_to_do(
    ask: Any, liar: Liar, guards: MakeGuard, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask(guards("http://127.0.0.1:1"), x_api_key=KEY).status == 503
    for status, advice in (("403 Forbidden", "give the guard an API key"), ("308 Permanent Redirect", "no redirect")):
        liar.answer = answered("", status, f"Location: {liar.url}/elsewhere")
        assert ask(guards(liar.url), x_api_key=KEY).status == 503
        assert advice in caplog.text
    assert len(liar.requests) == 2, "no redirect was followed"
    assert KEY not in caplog.text
    assert ASKER not in caplog.text


def test_an_answer_that_drips_is_given_up(liar: Liar, guards: MakeGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    liar.answer = verified()
    monkeypatch.setattr("mushu.guard.connection._MOST_BYTES", 10)
    assert ask_wsgi(guards(liar.url), x_api_key=KEY).status == 503
    monkeypatch.setattr(MushuConnection, "ask", lambda *_: time.sleep(0.2))
    assert ask_asgi(guards(liar.url, timeout=0.01), x_api_key=KEY).status == 503


def test_a_connection_is_used_again_and_replaced_where_it_was_lost_or_after_a_fork(
    liar: Liar, guards: MakeGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar.answer = verified()
    guard = guards(liar.url, max_age=60)
    for address in range(5):
        assert ask_wsgi(guard, {"REMOTE_ADDR": f"192.0.2.{address}"}, x_api_key=generate(Prefix.LIVE_KEY).reveal()).key
    assert liar.connections == 1
    assert ask_wsgi(guard, x_api_key=KEY).key
    inherited = guard._verifier._connection._pool
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert ask_wsgi(guard, x_api_key=KEY).key, "the child of a fork remembers nothing, and has its own connection"
    assert (liar.connections, len(liar.requests)) == (2, 7)
    guard.close()
    monkeypatch.undo()
    inherited.idle.pop().close()


@pytest.mark.fault
def test_a_request_is_asked_about_again_only_where_a_kept_connection_was_lost_without_an_answer(
    liar: Liar, guards: MakeGuard, caplog: pytest.LogCaptureFixture
) -> None:
    liar.answer, liar.drops = verified(), True
    guard = guards(liar.url, timeout=1)
    for asked in (1, 2, 3):  # the server closes a connection that waits: it is replaced before anything is sent
        liar.closed.clear()
        assert ask_wsgi(guard, x_api_key=KEY).key
        assert liar.closed.wait(5)
        assert (len(liar.requests), liar.connections) == (asked, asked)
    liar.drops = False
    assert ask_wsgi(guard, x_api_key=KEY).key
    liar.loses, before = 1, len(liar.requests)  # the server reads a question, and is gone: its answer may be lost
    assert ask_wsgi(guard, x_api_key=KEY).key
    assert len(liar.requests) == before + 2

    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n500\r\n{"
    for begun in (verified()[:-5], chunked, b"HTTP/1.1 200 O"):  # an answer began: the question was counted
        liar.answer, liar.drops = verified(), False
        assert ask_wsgi(guard, x_api_key=KEY).key
        before, liar.answer, liar.drops = len(liar.requests), begun, True
        assert ask_wsgi(guard, x_api_key=KEY).status == 503
        assert len(liar.requests) == before + 1

    before, liar.answer = (
        len(liar.requests),
        b"",
    )  # a new connection is lost: the server is not well, and two questions are not better than one
    assert ask_wsgi(guard, x_api_key=KEY).status == 503
    assert len(liar.requests) == before + 1
    assert "closed the connection without an answer" in caplog.text


def test_a_good_answer_is_remembered_as_long_as_the_service_allows_and_the_key_lives(
    liar: Liar, guards: MakeGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(verification, "time", Mock(monotonic=lambda: now))
    monkeypatch.setattr(verification, "_MOST_ANSWERS", 3)
    liar.answer = verified(scopes=["read", "write"], expires_at=(datetime.now(UTC) + timedelta(days=1)).isoformat())
    forgetful, guard = guards(liar.url), guards(liar.url, max_age=10, client_address="Mushuclientip")

    def asks(guard: Guard, key: str = KEY, **headers: str) -> int:
        before = len(liar.requests)
        for ask in (ask_wsgi, ask_asgi):
            assert ask(guard, x_api_key=key, **headers).status == 200
        return len(liar.requests) - before

    assert asks(forgetful) == 2
    assert (asks(guard), asks(guard)) == (1, 0)
    assert [asks(guard, mushuclientip=address) for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1")] == [1, 1, 0]
    assert b'"client_address": "192.0.2.2"' in liar.requests[-1]
    now += 10
    assert asks(guard) == 1
    others = [generate(Prefix.LIVE_KEY).reveal() for _ in range(3)]
    assert [asks(guard, key) for key in [*others, KEY]] == [1, 1, 1, 1], "only so many are remembered"
    liar.answer = verified(expires_at=(datetime.now(UTC) - timedelta(seconds=1)).isoformat())
    assert [asks(guard, others[0]), asks(guard, others[0])] == [2, 2], "an answer about a key outlives no key"
    liar.answer = answered('{"results": [{"valid": false, "state": "revoked", "code": "deleted_credential"}]}')
    for _ in range(2):
        before = len(liar.requests)
        assert ask_wsgi(guard, x_api_key=others[1], mushuclientip="192.0.2.9").status == 401
        assert len(liar.requests) == before + 1, "a bad answer is not remembered"


def test_a_service_may_not_name_what_cannot_be_used() -> None:
    with pytest.raises(BadAddress):
        Guard(key=ASKER)
    with pytest.raises(BadAddress):
        Guard("http://keys.example.com", key=ASKER)
    for key in ("", generate(Prefix.CLI_TOKEN).reveal()):
        with pytest.raises(BadCredential):
            Guard("http://127.0.0.1:1", key=key)
    for wrong in ({"scope": "root"}, {"max_age": -1}, {"timeout": 0}, {"client_address": "X-Forwarded-For"}):
        with pytest.raises(ValueError, match=r"scope|max_age|client_address"):
            Guard("http://127.0.0.1:1", key=ASKER, **wrong)


def test_a_key_over_its_limit_hears_when_to_ask_again(liar: Liar, guards: MakeGuard) -> None:
    for told, later in (("7", "7"), ("null", None), ("-1", None), ('"7"', None)):
        result = '"valid": false, "state": "active", "code": "rate_limited", "detail": "Wait.", "retry_after": '
        liar.answer = answered(f'{{"results": [{{{result}{told}}}]}}')
        heard = ask_wsgi(guards(liar.url), x_api_key=KEY)
        assert (heard.status, heard.code, heard.headers.get("Retry-After")) == (429, "rate_limited", later)


def test_what_comes_in_chunks_is_read_and_the_connection_used_again(liar: Liar, guards: MakeGuard) -> None:
    content = verified().partition(b"\r\n\r\n")[2]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (content[:50], content[50:]))
    liar.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    guard = guards(liar.url)
    assert ask_wsgi(guard, x_api_key=KEY).key
    assert ask_wsgi(guard, x_api_key=KEY).key
    assert liar.connections == 1


def test_a_server_proves_itself_by_its_certificate(guards: MakeGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("own") as stub:
        stub.tell("POST", "/mushu/api-keys/verify", json.loads(verified().partition(b"\r\n\r\n")[2]))
        assert ask_wsgi(guards(f"{stub.url}/mushu"), x_api_key=KEY).status == 503
        assert stub.asked == [], "no key was sent"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates() / "own.pem"))
        assert ask_wsgi(guards(f"{stub.url}/mushu"), x_api_key=KEY).key
        assert stub.asked[0].headers["authorization"] == f"ApiKey {ASKER}"
