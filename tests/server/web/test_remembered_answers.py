"""Answers about a key that are remembered: the same as those that are made, counted alike, and never late."""

import threading
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder

from mushu.environment import Environment
from mushu.server.audit import SYSTEM
from mushu.server.core import Core, core_of, db
from mushu.server.db import writing
from mushu.server.keys import Scope
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DISABLE
from mushu.server.operation.requests import QUICKLY, answer
from mushu.server.usage import uses_of
from mushu.server.web import fast_path
from mushu.server.web.bodies import whole_form, whole_json
from mushu.server.web.extensions import recorder_of
from mushu.server.web.remembered_answers import InFront
from tests.conftest import TurnableClock
from tests.server.conftest import World, api_key
from tests.server.web.asking import SeparateClient
from tests.server.web.test_direct_bodies import Connection

pytestmark = pytest.mark.sqlite


class Service:
    """Asks about keys, as Granian hands a request over."""

    def __init__(self, app: Flask, asker: str) -> None:
        self.app = app
        self.asker = asker
        #: Of the requests that had another thread listen.
        self.left: list[str] = []

    def ask(self, path: str, **asked: Any) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body; of a form where the path is that of introspection."""
        sent: dict[str, Any] = {"data": asked} if "oauth" in path else {"json": asked}
        scope = EnvironBuilder(path, method="POST", headers=[*api_key(self.asker).items()], **sent).get_environ()
        connection = Connection(scope.pop("wsgi.input").read())
        scope["wsgi.input"] = connection
        thread = threading.Thread(target=answer, args=(self.app, connection, scope, partial(self.left.append, path)))
        thread.start()
        thread.join(30)
        assert connection.answer is not None
        status, headers, body = connection.answer
        assert headers.pop("X-Request-Id")
        return status, headers, body


@pytest.fixture
def service(app: Flask, world: World) -> Service:
    return Service(app, world.key(world.org(), Scope.READ)[1])


def uses(app: Flask, key_id: str) -> int:
    recorder_of(app).flush()
    found = uses_of(db.session, [key_id]).get(key_id)
    return found.requests if found is not None else 0


@pytest.mark.parametrize(("path", "field"), [("/api-keys/verify", "key"), ("/oauth/introspect", "token")])
def test_what_is_remembered_is_answered_alike_counted_alike_and_never_late(
    app: Flask, world: World, service: Service, clock: TurnableClock, path: str, field: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    org = world.org()
    service.asker = (asker := world.key(org, Scope.READ))[1]
    (key, text), (brief, ends) = world.key(org), world.key(org, lives_seconds=60)
    first = service.ask(path, **{field: text})
    calls: list[str] = []
    monkeypatch.setattr(app, "full_dispatch_request", lambda: calls.append("Flask"))
    monkeypatch.setattr("mushu.server.web.fast_path.whole_json", lambda _: calls.append("read"))
    monkeypatch.setattr("mushu.server.web.fast_path.whole_form", lambda _: calls.append("read"))
    assert service.ask(path, **{field: text}) == first
    assert (first[0], calls) == (200, [])
    monkeypatch.undo()
    assert service.ask(path, **{field: ends})[0] == 200
    assert (uses(app, key.id), uses(app, brief.id), uses(app, asker[0].id)) == (2, 1, 3)
    clock.turn(seconds=60)
    assert b"expired" in (late := service.ask(path, **{field: ends})[2]) or late == b'{"active":false}\n'
    with writing(db.session):
        change_state(db.session, clock, SYSTEM, key.id, DISABLE)
    assert b"disabled" in (late := service.ask(path, **{field: text})[2]) or late == b'{"active":false}\n'
    with writing(db.session):
        change_state(db.session, clock, SYSTEM, asker[0].id, DISABLE)
    assert service.ask(path, **{field: text})[0] == 401


def test_a_validation_is_remembered_counts_no_use_and_is_never_late(
    app: Flask, world: World, service: Service, clock: TurnableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    org = world.org()
    (key, text), (_, ends), (_, test) = (
        world.key(org), world.key(org, lives_seconds=60), world.key(org, environment=Environment.TEST)
    )  # fmt: skip
    sandbox, path = "/sandbox/api-keys/validate", "/api-keys/validate"
    first = service.ask(path, key=text), service.ask(path, key=ends), service.ask(sandbox, key=test)
    assert [b'"valid":true' in content for _, _, content in first] == [True] * 3
    with monkeypatch.context() as patched:
        patched.setattr("mushu.server.web.fast_path.whole_json", Mock(side_effect=ValueError))
        patched.setattr(app, "full_dispatch_request", Mock(side_effect=ValueError))
        assert (service.ask(path, key=text), service.ask(path, key=ends), service.ask(sandbox, key=test)) == first
    assert uses(app, key.id) == 0
    for other, elsewhere in ((path, test), (sandbox, text)):
        assert b'"valid":false' in service.ask(other, key=elsewhere)[2]
    clock.turn(seconds=60)
    assert b"expired" in service.ask(path, key=ends)[2]
    with writing(db.session):
        change_state(db.session, clock, SYSTEM, key.id, DISABLE)
    assert b"disabled" in service.ask(path, key=text)[2]


def test_a_question_is_read_once_whatever_the_answer(
    world: World, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    org = world.org()
    service.asker = world.key(org, Scope.READ)[1]
    good, bad = world.key(org)[1], world.key(world.org())[1]
    monkeypatch.setattr(fast_path, "whole_json", json := Mock(side_effect=whole_json))
    monkeypatch.setattr(fast_path, "whole_form", form := Mock(side_effect=whole_form))
    for path, asked in (
        ("/api-keys/verify", {"key": good}), ("/api-keys/verify", {"key": bad}), ("/oauth/introspect", {"token": bad}),
        ("/api-keys/verify", {"keys": [good, bad]}), ("/api-keys/validate", {"key": good}),
    ):  # fmt: skip
        assert service.ask(path, **asked)[0] == 200
        assert json.call_count + form.call_count == 1
        json.reset_mock()
        form.reset_mock()


def test_what_is_not_remembered_has_another_thread_listen(app: Flask, world: World, service: Service) -> None:
    service.asker = world.key(org := world.org(), Scope.READ)[1]
    text = world.key(org)[1]
    environ = EnvironBuilder("/api-keys/verify", method="POST").get_environ()
    answers_quickly = getattr(app, QUICKLY)
    assert not answers_quickly(environ), "the wal-index is not open yet"
    service.ask("/api-keys/verify", key=text)
    assert answers_quickly(environ)
    assert not any(answers_quickly(environ | other) for other in (
        {"REQUEST_METHOD": "PUT"}, {"QUERY_STRING": "a=1"}, {"PATH_INFO": "/orgs"}
    ))  # fmt: skip
    for path, asked, left in (
        ("/api-keys/verify", {"key": text}, 0), ("/api-keys/verify", {"keys": [text]}, 1),
        ("/api-keys/verify", {"key": "x" * 70_000}, 1), ("/auth/login", {}, 0),
    ):  # fmt: skip
        service.left.clear()
        service.ask(path, **asked)
        assert len(service.left) == left


def test_another_question_is_not_answered_by_one_that_is_remembered(app: Flask, world: World, service: Service) -> None:
    org = world.org()
    service.asker = world.key(org, Scope.READ)[1]
    _, text = world.key(org, Scope.READ)
    for _ in range(2):
        assert b'"valid":true' in service.ask("/api-keys/verify", key=text)[2]
        assert b"missing_scope" in service.ask("/api-keys/verify", key=text, scope="write")[2]
        assert service.ask("/api-keys/verify", key=text, other=1)[0] == 422
        assert service.ask("/api-keys/verify?x=1", key=text)[0] == 422
        assert service.ask("/api-keys/verify", keys=[text, "x"])[2].count(b'"valid"') == 2
    stranger = Service(app, world.key(world.org(), Scope.READ)[1])
    assert b"unknown_credential" in stranger.ask("/api-keys/verify", key=text)[2]


def test_a_key_with_limits_is_counted_each_time(app: Flask, world: World, service: Service) -> None:
    org = world.org()
    service.asker = world.key(org, Scope.READ)[1]
    key, text = world.key(org)
    with writing(db.session):
        key.limits = "1/day"
    assert b'"valid":true' in service.ask("/api-keys/verify", key=text)[2]
    assert b"rate_limited" in service.ask("/api-keys/verify", key=text)[2]


def test_without_a_slot_it_is_refused_as_any_request(
    app: Flask, service: Service, client: SeparateClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mushu.server.web.body_slots.Slots.enter", lambda *_: False)
    status, headers, _ = service.ask("/api-keys/verify", key="x")
    refused = client.post("/auth/login", json={})
    assert (status, refused.status_code) == (503, 503)
    assert {*headers} | {"X-Request-Id"} == {*refused.headers.keys()}


def test_where_all_requests_are_logged_each_goes_through_the_log(core: Core, app: Flask) -> None:
    from mushu.server.app import create_app

    def is_in_front(application: Any) -> bool:
        return isinstance(application, InFront) or (hasattr(application, "_app") and is_in_front(application._app))

    assert is_in_front(app.wsgi_app)
    settings = replace(core_of(app).settings, access_log="all", access_log_file="")
    assert not is_in_front(create_app(replace(core, settings=settings)).wsgi_app)
