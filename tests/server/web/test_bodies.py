"""Bodies that no client sends, at every address: each is refused in words, and none is ever the server's fault."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from mushu.environment import Environment
from tests.server.conftest import api_key
from tests.server.web.asking import all_rows, answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import CHANGING, IN_BROWSER, PARAMETERS, PUBLIC, Stage
from tests.server.web.pages.browser import Browser

pytestmark = pytest.mark.unmeasured

#: As the documentation says.
MOST_FIELDS = 100
MOST_VALUES = 10_000
SERVER = Path(__file__).resolve().parents[3] / "mushu" / "server"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"
DEEP = b'{"a":' * 10_000
#: What nobody can take for an object: 400.
MALFORMED: dict[str, bytes] = {
    "no JSON": b"{'name': 'x'}",
    "cut off": b'{"name": "x"',
    "two": b'{"name": "x"} {}',
    "latin": b'{"name": "\xe9"}',
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "compressed": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "deep": DEEP,
    "deep and whole": DEEP + b"1" + b"}" * 10_000,
    "deep within a field": b'{"name": "x", "data": ' + b"[" * 40 + b"]" * 40 + b"}",
    "many values": b'{"name": [' + b"1," * 20_000 + b"1]}",
    "NaN": b'{"name": NaN}',
    "without end": b'{"name": "x", "badge": -Infinity}',
    "twice": b'{"name": "x", "name": "y"}',
    "twice within": b'{"name": "x", "data": {"a": 1, "a": 2}}',
    "half a surrogate pair": b'{"name": "\\ud800"}',
    "half a surrogate pair in a name": b'{"\\udc00": 1}',
    "a number of a hundred digits": b'{"name": 1' + b"0" * 100 + b"}",
    "a number of ten thousand digits": b'{"name": 1' + b"0" * 10_000 + b"}",
    "a fraction without end": b'{"name": 1e999}',
}
#: JSON, and no object that the API takes: 422.
NO_OBJECT: dict[str, bytes] = {
    "null": b"null",
    "text": b'"{}"',
    "list": b"[{}]",
    "many fields": json.dumps({f"field{number}": 1 for number in range(MOST_FIELDS + 1)}).encode(),
}
#: They answer errors as RFC 6749 says.
OAUTH = ("/auth/device/code", "/auth/token")
BAD_FORMS: dict[str, tuple[str, bytes]] = {
    "latin": (FORM, b"decision=%e9"),
    "latin as it is": (FORM, b"decision=\xe9"),
    "a surrogate": (FORM, b"decision=%ed%a0%80"),
    "twice": (FORM, b"decision=deny&decision=approve"),
    "many fields": (FORM, "&".join(f"a{number}=" for number in range(MOST_FIELDS + 1)).encode()),
    "in parts without a boundary": ("multipart/form-data", b"--x--"),
    "in parts without an end": (MULTIPART, b'--x\r\nContent-Disposition: form-data; name="decision"\r\n\r\nappro'),
    "in parts, twice": (
        MULTIPART,
        b'--x\r\nContent-Disposition: form-data; name="decision"\r\n\r\ndeny\r\n' * 2 + b"--x--\r\n",
    ),
}
LARGE = b'{"name": "' + b"a" * 1_048_576 + b'"}'


def _takes_json(house: House) -> list[tuple[str, Rule]]:
    """Return the method and the rule of every endpoint whose view names a body."""
    return [
        (method, rule)
        for rule in house.app.url_map.iter_rules()
        for method in sorted(rule.methods or ())
        if "body" in getattr(house.app.view_functions[rule.endpoint], "__annotations__", {})
        if method in ("POST", "PUT", "PATCH", "DELETE")
    ]


def _path(rule: Rule, stage: Stage) -> str:
    """Return an address of the rule that is about what is there."""
    words = {parameter: word for word, parameter in PARAMETERS.items() if word not in ("pending_key", "disabled_key")}
    path = rule.rule
    for parameter in rule.arguments:
        word = words.get(parameter)
        path = path.replace(f"<{parameter}>", stage[word] if word is not None and word != "arrived" else "x")
    return path


def _send(house: House, method: str, path: str, body: bytes, kind: str, headers: dict[str, str]) -> TestResponse:
    return house.client.open(path, method=method, data=body, content_type=kind, headers=headers)


@pytest.mark.fault
def test_every_endpoint_that_takes_an_object_refuses_what_is_none(house: House, stage: Stage) -> None:
    endpoints = _takes_json(house)
    assert len(endpoints) > 40
    stages = {True: Stage(house.world, Environment.TEST), False: stage}
    asked = [(method, _path(rule, stages[rule.rule.startswith("/sandbox")])) for method, rule in endpoints]
    headers = {path: stages[path.startswith("/sandbox")].headers for _, path in asked}
    headers["/api-keys/verify"] = api_key(house.world.key(stage.organization)[1])  # which no token may ask
    before = all_rows()
    for method, path in asked:
        for name, body in MALFORMED.items():
            document = refusal(_send(house, method, path, body, JSON, headers[path]), 400, "bad_request")
            assert document["detail"].startswith("The body cannot be understood. "), (path, name)
            assert not document["detail"].endswith(".."), (path, name)
        for body in NO_OBJECT.values():
            refusal(_send(house, method, path, body, JSON, headers[path]), 422, "invalid_input")
        refusal(_send(house, method, path, LARGE, JSON, headers[path]), 413, "request_entity_too_large")
    assert all_rows() == before


@pytest.mark.fault
def test_no_endpoint_at_all_fails_on_a_deep_body(house: House, stage: Stage) -> None:
    """With a credential and without, whether the endpoint takes a body or not."""
    for rule in house.app.url_map.iter_rules():
        path = _path(rule, stage) if "variant" not in rule.arguments else "/t/small/x"
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            if (method, rule.rule) == ("DELETE", "/orgs/<org_id>"):
                continue  # it is done, whatever the body is
            for headers in ({}, {"Authorization": "Bearer x"}):
                assert _send(house, method, path, DEEP, JSON, headers).status_code < 500, (method, path)


@pytest.mark.fault
@pytest.mark.parametrize("path", ["/auth/logout", "/auth/refresh"])
def test_a_body_that_may_hold_the_token_is_refused_in_the_same_words(house: House, path: str) -> None:
    for body in MALFORMED.values():
        refusal(_send(house, "POST", path, body, JSON, {}), 400, "bad_request")
    for body in (b"", b"[]", b'"mct_x"', b"{}", b'{"access_token": 1}'):
        refusal(_send(house, "POST", path, body, JSON, {}), 401, "missing_credential")
    refusal(_send(house, "POST", path, DEEP, "text/plain", {}), 401, "missing_credential")


@pytest.mark.fault
@pytest.mark.parametrize("path", ["/tenants", "/media/upload-url", "/sandbox/tenants", "/sandbox/media/upload-url"])
def test_a_body_that_names_the_organization_is_refused_before_anybody_is_admitted(
    house: House, stage: Stage, path: str
) -> None:
    _, key = house.world.key(stage.organization)
    for body in MALFORMED.values():
        refusal(_send(house, "POST", path, body, JSON, {}), 401, "missing_credential")
        for headers in (stage.headers, api_key(key)):
            refusal(_send(house, "POST", path, body, JSON, headers), 400, "bad_request")


@pytest.mark.fault
def test_every_form_refuses_what_is_none(house: House, stage: Stage) -> None:
    browser, paths = Browser(house.app), ["/auth/device/code", "/auth/token", "/login", "/password/x"]
    user = house.world.user(with_password=True)
    assert browser.sign_in(user.email, house.world.password).status_code == 303
    paths += [_concrete(rule) for method, rule in sorted(IN_BROWSER) if method == "POST"]
    before = all_rows()
    for path in paths:
        for name, (kind, body) in BAD_FORMS.items():
            response = browser.client.post(path, data=body, content_type=kind)
            assert response.status_code == 400, (path, name, response.get_data(as_text=True))
            if path in OAUTH:
                assert response.get_json()["error"] == "invalid_request"
            else:
                assert "The body must be a form in UTF-8" in response.get_data(as_text=True)
        for kind, body in ((FORM, b"a=" + b"b" * 1_048_576), (MULTIPART, _parts(MOST_FIELDS + 1))):
            assert browser.client.post(path, data=body, content_type=kind).status_code == 413, path
    assert all_rows() == before


@pytest.mark.fault
def test_no_page_takes_json_for_a_form(house: House) -> None:
    """In a form, everything is text; what fills one with JSON would hand objects to what expects text."""
    browser, user = Browser(house.app), house.world.user(with_password=True)
    assert browser.sign_in(user.email, house.world.password).status_code == 303
    for path in [
        "/login",
        "/password/x",
        *(_concrete(rule) for method, rule in sorted(IN_BROWSER) if method == "POST"),
    ]:
        for body in (b"[1]", b'{"email": 1, "password": {}, "user_code": []}', b'"x"', DEEP, b"{}"):
            assert browser.client.post(path, data=body, content_type=JSON).status_code in (303, 400, 404, 422), path


def test_good_forms_are_taken_in_both_encodings(house: House) -> None:
    for kind, body in ((FORM, b"client_id=a&client_name=%E2%98%95"), (MULTIPART, _parts(1))):
        assert answer(house.client.post("/auth/device/code", data=body, content_type=kind))["user_code"]


@pytest.mark.parametrize(
    "body", [b'{"name": "\\ud83d\\ude00"}', b'\xef\xbb\xbf{"name": "x"}', '{"name": "\u2615"}'.encode()]
)
def test_what_other_programs_write_is_taken(house: House, stage: Stage, body: bytes) -> None:
    path = f"/orgs/{stage.org}/api-keys"
    answer(_send(house, "POST", path, body, "application/json; charset=utf-8", stage.headers))


@pytest.mark.fault
def test_what_a_notification_carries_is_bounded_as_a_whole(house: House, stage: Stage) -> None:
    path, message = f"/tenants/{stage.tenant}/notify", {"user_id": "ada", "alert": {"body": "x"}}
    answer(house.client.post(path, json=message | {"data": {"a": {"b": [[1]]}}}, headers=stage.headers))
    fields = {f"f{number}": 1 for number in range(MOST_VALUES)}
    refused = house.client.post(path, json={"user_id": "ada", "alert": fields}, headers=stage.headers)
    assert "more than" in refusal(refused, 400, "bad_request")["detail"]


@pytest.mark.fault
def test_nothing_else_in_the_server_reads_a_body() -> None:
    """Uploads are bytes, and counted as they come; `web/slow_clients.py` only puts a deadline around the stream."""
    found = {
        (path.relative_to(SERVER).as_posix(), name)
        for path in SERVER.rglob("*.py")
        if path.relative_to(SERVER).as_posix() not in ("web/bodies.py", "web/slow_clients.py")
        for name in _reads(path.read_text("utf-8"))
    }
    assert found == {("web/api/media_content.py", "request.stream")}


@pytest.mark.parametrize(
    "source",
    ["request.get_json(silent=True)", "request.json", "flask.request.get_data()", "request.environ['wsgi.input']"],
)
def test_a_second_reader_is_seen(source: str) -> None:
    assert list(_reads(source))


def test_the_walk_knows_every_endpoint_that_takes_an_object(house: House) -> None:
    """Those of the table by hand that have a body are among those that the walk finds by the code."""
    walked = {(method, rule.rule) for method, rule in _takes_json(house)}
    assert {mounted.rule for mounted in CHANGING if mounted.endpoint.body is not None} <= walked
    assert {(method, rule) for method, rule in PUBLIC if rule.endswith(("/auth/login", "/validate"))} <= walked


_READERS = {"get_json", "json", "get_data", "data", "stream", "input_stream", "values", "files"}


def _reads(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in _READERS:
            owner: Any = node.value
            if node.attr == "get_json" or getattr(owner, "id", getattr(owner, "attr", "")) == "request":
                yield ast.unparse(node)
        if isinstance(node, ast.Constant) and node.value == "wsgi.input":
            yield ast.unparse(node)


def _concrete(rule: str) -> str:
    path = "/".join("x" if part.startswith("<") else part for part in rule.split("/"))
    return f"{path}?redirect_uri=http://localhost:1/" if path == "/auth/apple/authorize" else path


def _parts(count: int) -> bytes:
    part = '--x\r\nContent-Disposition: form-data; name="f{}"\r\n\r\n\u2615\r\n'
    return "".join(part.format(number) for number in range(count)).encode() + b"--x--\r\n"
