"""Errors over HTTP: problem documents as in RFC 9457, with a stable code, and never with what was sent."""

import json
import logging
from collections.abc import Callable, Iterator
from http import HTTPStatus
from inspect import signature
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from werkzeug.exceptions import Conflict, HTTPException, ImATeapot, TooManyRequests
from werkzeug.test import TestResponse

from mushu.keyformat import Prefix, generate
from mushu.server import errors
from mushu.server.errors import MushuError
from mushu.server.web.guard import public
from mushu.server.web.problems import STATUSES, on_mushu_error, problem, status_of
from tests.server.web.asking import SeparateClient, problem_of, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import LIVE, MOUNTED, Mounted, Stage

pytestmark = pytest.mark.unmeasured


def tree(root: type[MushuError] = MushuError) -> Iterator[type[MushuError]]:
    yield root
    for kind in root.__subclasses__():
        if kind.__module__ == errors.__name__:
            yield from tree(kind)


KINDS = list(tree())


def sample(kind: type[MushuError]) -> MushuError:
    """Return an error of the kind, whatever else it has to be told."""
    parameters = signature(kind).parameters.values()
    needed = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty]
    return kind("Do this.", **dict.fromkeys(needed, 7))  # type: ignore[arg-type]


def raised(app: Flask, client: SeparateClient, error: Exception) -> TestResponse:
    """Return the answer of an endpoint that fails with `error`."""

    def fail() -> str:
        raise error

    app.add_url_rule("/fails", "fails", public(fail))
    return client.get("/fails")


class TestTheTree:
    def test_every_error_has_a_code_of_its_own_a_title_and_a_status_and_is_drawn(self) -> None:
        for kind in KINDS:
            assert "code" in vars(kind), kind
            assert "title" in vars(kind), kind
            assert kind.code == kind.code.lower()
            assert kind.code.replace("_", "").isalpha()
            assert kind.__name__ in (errors.__doc__ or ""), kind
            assert status_of(sample(kind)) in set(STATUSES.values()), kind
        assert len({kind.code for kind in KINDS}) == len(KINDS)

    @pytest.mark.parametrize(
        ("kind", "status"),
        [
            (errors.Invalid, 422),
            (errors.ExpiredCredential, 401),
            (errors.LoginRefused, 401),
            (errors.AmbiguousCredential, 400),
            (errors.OwnerRequired, 403),
            (errors.KeyNotFound, 404),
            (errors.WrongState, 409),
            (errors.DeliveryFailed, 502),
            (errors.DeliveryUndecided, 503),
            (errors.DatabaseUnavailable, 503),
            (errors.ConfigurationError, 500),
            (MushuError, 500),
        ],
    )
    def test_the_nearest_ancestor_gives_the_status(self, kind: type[MushuError], status: int) -> None:
        assert status_of(kind("Do this.")) == status


class TestADocument:
    def test_says_what_the_error_says(self, house: House) -> None:
        for kind in KINDS:
            assert json.loads(on_mushu_error(sample(kind)).data) == {
                "type": f"urn:mushu:error:{kind.code}",
                "title": kind.title,
                "status": status_of(sample(kind)),
                "detail": "Do this.",
                "code": kind.code,
            }

    def test_names_the_field_that_is_at_fault_where_one_is(self, app: Flask, client: SeparateClient) -> None:
        document = refusal(raised(app, client, errors.Invalid("Do this.", field="name")), 422, "invalid_input")
        assert document["errors"] == [{"field": "name", "message": "Do this."}]
        assert "errors" not in json.loads(on_mushu_error(errors.StateConflict("Look again.")).data)

    def test_challenges_exactly_where_a_credential_is_what_is_missing(self, app: Flask) -> None:
        for status in HTTPStatus:
            if status >= 400:
                has = "WWW-Authenticate" in problem(status, "code", "Title", "Detail.").headers
                assert has == (status == 401)

    def test_masks_a_credential_that_a_sentence_repeats(self, app: Flask, client: SeparateClient) -> None:
        for prefix in Prefix:
            key = generate(prefix).reveal()
            response = problem(404, "code", f"No {key}", f"There is no {key!r}.")
            assert key not in response.get_data(as_text=True)
            assert f"{prefix}****" in response.get_data(as_text=True)


class Odd(HTTPException):
    """An error that the framework has no class for."""

    code = 500


class TestFromFlask:
    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
    def test_no_such_address_is_not_found(self, house: House, method: str) -> None:
        for path in ("/nothing", "/orgs/a/b/c/d", "/favicon.ico", "/robots.txt", "/.env", "/.git/config"):
            document = refusal(house.client.open(path, method=method), 404, "not_found")
            assert "/docs" in document["detail"]

    def test_a_method_that_is_not_there_is_answered_with_those_that_are(self, house: House) -> None:
        response = house.client.put("/orgs/org_a")
        refusal(response, 405, "method_not_allowed")
        assert set(response.allow) == {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}

    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [
            (ImATeapot(), 418, "im_a_teapot"),
            (Conflict("canary"), 409, "conflict"),
            (TooManyRequests(retry_after=7), 429, "too_many_requests"),
            (Odd("canary"), 500, "internal_server_error"),
        ],
    )
    def test_other_statuses_have_the_code_of_their_name(
        self, app: Flask, client: SeparateClient, error: HTTPException, status: int, code: str
    ) -> None:
        response = raised(app, client, error)
        assert "canary" not in response.get_data(as_text=True)
        refusal(response, status, code)
        assert response.headers.get("Retry-After") == ("7" if status == 429 else None)

    def test_a_redirect_is_one(self, app: Flask, client: SeparateClient) -> None:
        app.add_url_rule("/folder/", "folder", public(lambda: "here"))
        response = client.get("/folder", headers={"Host": "evil.example"})
        assert (response.status_code, response.headers["Location"]) == (308, "http://127.0.0.1:8000/folder/")

    def test_no_address_of_this_application_redirects(self, house: House) -> None:
        """A redirect repeats the path, and a path can hold a one-time link."""
        for rule in house.app.url_map.iter_rules():
            assert not rule.rule.endswith("/") or rule.rule == "/" or rule.strict_slashes is False
        for path in ("/password//mpl_canary", "/orgs//org_a", "/docs/", "/openapi.json/"):
            assert house.client.get(path).status_code == 404


class TestCrashes:
    def test_are_told_to_the_log_and_not_to_the_caller(
        self, app: Flask, client: SeparateClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        response = raised(app, client, RuntimeError("canary: the secret recipe"))
        refusal(response, 500, "internal")
        assert "canary" not in response.get_data(as_text=True)
        assert "Traceback" not in response.get_data(as_text=True)
        record = next(record for record in caplog.records if record.message == "unhandled exception")
        assert record.levelno == logging.ERROR
        assert record.exc_info is not None
        assert "the secret recipe" in str(record.exc_info[1])
        assert client.get("/health").status_code == 200, "the server goes on"

    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [
            (IntegrityError, 409, "conflict"),
            (OperationalError, 503, "database_unavailable"),
            (DataError, 422, "invalid_input"),
        ],
    )
    def test_the_database_says_no_without_details(
        self,
        app: Flask,
        client: SeparateClient,
        error: Callable[[str, Any, Exception], Exception],
        status: int,
        code: str,
    ) -> None:
        response = raised(app, client, error("SELECT canary", {"name": "canary"}, Exception("canary")))
        refusal(response, status, code)
        assert "canary" not in response.get_data(as_text=True)
        assert "SELECT" not in response.get_data(as_text=True)

    def test_a_database_that_does_not_answer_is_logged_without_what_it_was_asked(
        self, app: Flask, client: SeparateClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        raised(app, client, OperationalError("SELECT canary", {"digest": "canary"}, Exception("disk I/O error")))
        record = next(record for record in caplog.records if record.message == "database failed")
        assert vars(record)["cause"] == "disk I/O error"
        assert "canary" not in caplog.text

    def test_what_the_server_could_not_do_is_logged_and_what_the_caller_did_wrong_is_not(
        self, app: Flask, client: SeparateClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        refusal(raised(app, client, errors.DeliveryFailed("Vault is sealed.")), 502, "delivery_failed")
        refusal(client.post("/auth/login", json={}), 422, "invalid_input")
        (record,) = (record for record in caplog.records if record.message == "request failed")
        assert (vars(record)["code"], vars(record)["detail"]) == ("delivery_failed", "Vault is sealed.")


#: Live and test are one view, so few of the second addresses are tried.
ONCE = [mounted for number, mounted in enumerate(MOUNTED) if mounted.environment is LIVE or number % 9 == 0]


class TestNothingIsEchoed:
    """A secret in the wrong place must not come back in an answer that is then logged, pasted or shown."""

    @pytest.mark.parametrize("mounted", ONCE, ids=str)
    def test_of_what_was_sent_in_headers_query_or_body(self, house: House, mounted: Mounted) -> None:
        stage, canary = Stage(house.world, mounted.environment), "Canary-7"
        path, good = mounted.path.format_map(stage), stage.headers
        requests: list[dict[str, Any]] = [{"headers": {name: canary}} for name in HEADERS]
        requests += [{"headers": {"Authorization": f"{scheme} {canary}"}} for scheme in ("ApiKey", "Bearer", canary)]
        path = path.partition("?")[0]
        requests += [{"query_string": {name: canary}} for name in (canary, "limit", "include_deleted")]
        requests += [{"query_string": {name: canary}, "headers": good} for name in ("limit", "include_deleted")]
        if mounted.endpoint.body is not None:
            requests += [{"json": body, "headers": good} for body in _bodies(canary)]
            requests += [
                {"data": canary, "headers": good, "content_type": kind} for kind in ("application/json", canary)
            ]
        for request in requests:
            _check_silence(house.client.open(path, method=mounted.endpoint.method, **request), canary)

    @pytest.mark.parametrize("mounted", ONCE, ids=str)
    def test_of_a_credential_wherever_it_was_pasted(self, house: House, mounted: Mounted) -> None:
        """Also where an id belongs, which an answer may repeat."""
        stage, secret = Stage(house.world, mounted.environment), generate(Prefix.LIVE_KEY).reveal()
        path, good = mounted.path.format_map(stage), {"headers": stage.headers}
        requests: list[tuple[str, dict[str, Any]]] = [
            (mounted.path.replace(name, secret).format_map(stage), good) for name in ("{org}", "{member}", "{key}")
        ]
        path = path.partition("?")[0]
        requests += [(path, good | {"query_string": {name: secret}}) for name in ("cursor", "limit", "org_id", secret)]
        requests += [(path, {"headers": {name: secret}}) for name in ("Authorization", "X-API-Key")]
        requests += [(f"{path}/{secret}", good), (f"/{secret}", {}), (f"/password/{secret}", {})]
        if mounted.endpoint.body is not None:
            requests += [(path, good | {"json": body}) for body in (*_bodies(secret), {"user_id": secret})]
        for where, request in requests:
            _check_silence(house.client.open(where, method=mounted.endpoint.method, **request), secret)


HEADERS = ("Authorization", "X-API-Key", "Cookie", "User-Agent", "Referer", "X-Forwarded-For", "Content-Type")


def _bodies(canary: str) -> Iterator[object]:
    """Yield bodies that are refused by every endpoint, with the canary somewhere."""
    for field in ("name", "scopes", "expires_at", "role"):
        for value in (canary, [canary], {canary: canary}, [[canary]], canary * 300):
            yield {"name": "x", "more": 1} | {field: value}
    yield {"name": "x", canary: 1}
    yield {"name": "x", "more": {canary: canary}}
    yield canary
    yield [canary]


def _check_silence(response: TestResponse, canary: str) -> None:
    if response.status_code >= 400:
        assert canary not in response.get_data(as_text=True)
        assert canary not in str(response.headers)
        if response.content_type == "application/problem+json" and response.data:
            problem_of(response)
