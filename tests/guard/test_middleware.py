"""The three ways to stand before a service: WSGI, ASGI, and a decorator."""

import asyncio
import json
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask, request
from werkzeug.wrappers import Request

from mushu.guard import PEER, RequestDenied
from tests.guard.asgi import SCOPE, told_by
from tests.guard.conftest import KEY, Liar, MakeGuard, ask_wsgi, verified


def test_head_is_answered_without_a_body_and_a_header_sent_twice_is_no_credential(
    liar: Liar, guards: MakeGuard
) -> None:
    guard = guards(liar.url)
    heard = ask_wsgi(guard, {"REQUEST_METHOD": "HEAD"})
    assert (heard.status, heard.body) == (401, b"")
    twice = [(b"X-API-Key", KEY.encode())] * 2
    begun, body = told_by(guard.asgi(never), SCOPE | {"method": "HEAD", "headers": twice})
    assert (begun["status"], body["body"]) == (401, b"")
    assert not liar.requests


def test_a_web_socket_is_refused_in_the_way_that_the_server_has(liar: Liar, guards: MakeGuard) -> None:
    app = guards(liar.url).asgi(never)
    scope: dict[str, Any] = {"type": "websocket", "headers": []}
    assert told_by(app, scope) == [{"type": "websocket.close", "code": 1008}]
    begun, body = told_by(app, scope | {"extensions": {"websocket.http.response": {}}})
    assert (begun["type"], begun["status"]) == ("websocket.http.response.start", 401)
    assert json.loads(body["body"])["code"] == "missing_credential"


def test_the_life_of_a_server_is_not_asked_for_a_key(liar: Liar, guards: MakeGuard) -> None:
    with pytest.raises(AssertionError, match="reached"):
        told_by(guards(liar.url).asgi(never), {"type": "lifespan"})
    with pytest.raises(KeyError):
        told_by(guards(liar.url).asgi(never), {"type": "another", "headers": []})


async def never(*_: object) -> None:
    raise AssertionError("the service is reached")


def test_a_function_that_gets_a_request_says_its_scope(liar: Liar, guards: MakeGuard) -> None:
    guard = guards(liar.url, client_address=PEER)

    @guard.requires("read")
    def read(received: Request, word: str) -> tuple[str, str]:
        """Read."""
        return received.environ["mushu.key"].key_id, word

    @guard.requires("read")
    async def read_soon(*, scope: dict[str, Any]) -> str:
        return str(scope["mushu.key"].key_id)

    @guard.requires("write")
    def write(received: Request) -> None: ...

    liar.answer = verified()
    received = Request({"REQUEST_METHOD": "GET", "HTTP_X_API_KEY": KEY, "REMOTE_ADDR": ""})
    assert read(received, "a") == ("key_aaaaaaaaaaaa", "a")
    assert read.__doc__ == "Read."
    assert b"client_address" not in liar.requests[0], "what is no address is told as none"
    scope = SCOPE | {"headers": [(b"x-api-key", KEY.encode())]}
    assert asyncio.run(read_soon(scope=scope)) == "key_aaaaaaaaaaaa"
    before = len(liar.requests)
    assert asyncio.run(read_soon(scope=scope)) == "key_aaaaaaaaaaaa"
    assert read(received, "b") == ("key_aaaaaaaaaaaa", "b")
    with pytest.raises(RequestDenied) as denied:
        write(received)
    assert (denied.value.status, denied.value.code, len(liar.requests)) == (403, "missing_scope", before)
    with pytest.raises(TypeError, match="request="):
        write("no request")  # type: ignore[arg-type]
    with pytest.raises(RequestDenied):
        asyncio.run(read_soon(scope=SCOPE | {"headers": []}))


def test_a_key_that_another_guard_let_pass_is_asked_about_again(liar: Liar, guards: MakeGuard) -> None:
    liar.answer = verified()
    environ: dict[str, Any] = {}
    inner, outer = guards(liar.url), guards(liar.url)

    def service(environ: dict[str, Any], start_response: Any) -> Any:
        return inner.wsgi(hello)(environ, start_response)

    def hello(_: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return []

    outer.wsgi(service)(environ | {"HTTP_X_API_KEY": KEY}, Mock())
    assert len(liar.requests) == 2


def test_a_view_of_flask_is_guarded_and_its_refusal_is_answered(liar: Liar, guards: MakeGuard) -> None:
    app, guard = Flask(__name__), guards(liar.url)
    app.wsgi_app = guard.wsgi(app.wsgi_app)  # type: ignore[assignment, method-assign]

    @app.get("/")
    @guard.requires("write", request=lambda: request)
    def change() -> str:
        return "changed"

    @app.errorhandler(RequestDenied)
    def refuse(denied: RequestDenied) -> Any:
        return denied.body, denied.status, denied.headers

    liar.answer = verified(scopes=["read", "write"])
    assert app.test_client().get("/", headers={"X-API-Key": KEY}).text == "changed"
    assert len(liar.requests) == 1, "the middleware and the view ask once together"
    liar.answer = verified()
    refused = app.test_client().get("/", headers={"X-API-Key": KEY})
    assert (refused.status_code, refused.get_json()["code"]) == (403, "missing_scope")


def test_a_refusal_within_a_service_is_answered_by_the_guard_around_it(liar: Liar, guards: MakeGuard) -> None:
    liar.answer = verified()
    guard, begin = guards(liar.url), Mock()

    @guard.requires("admin")
    def service(environ: dict[str, Any], start_response: Any) -> Any: ...

    guard.wsgi(service)({"REQUEST_METHOD": "GET", "HTTP_X_API_KEY": KEY}, begin)
    assert begin.call_args.args[0] == "403 Forbidden"
