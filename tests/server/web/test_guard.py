"""What stands before every view, attacked: headers, environ, methods, paths and bodies."""

import json
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from mushu.environment import Environment
from mushu.server.core import db
from mushu.server.keys import Scope
from tests.server.conftest import api_key, bearer
from tests.server.statements import statements
from tests.server.web.asking import all_rows, answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

pytestmark = pytest.mark.unmeasured


class TestHeaders:
    @pytest.mark.parametrize(
        "form",
        ["Authorization: ApiKey {}", "authorization: apikey {}", "AUTHORIZATION: APIKEY {}", "X-API-Key: {}",
         "x-api-key: {}", pytest.param("Authorization: Bearer {}", marks=pytest.mark.fault)],
    )  # fmt: skip
    def test_a_key_is_taken_in_each_of_its_forms(self, house: House, stage: Stage, form: str) -> None:
        _, key = house.world.key(stage.organization)
        name, _, value = form.format(key).partition(": ")
        assert answer(house.client.get(f"/orgs/{stage.org}", headers={name: value}))["org_id"] == stage.org

    def test_the_same_key_twice_is_one_credential(self, house: House, stage: Stage) -> None:
        _, key = house.world.key(stage.organization)
        headers = api_key(key) | {"X-API-Key": key}
        assert house.client.get(f"/orgs/{stage.org}", headers=headers).status_code == 200

    @pytest.mark.fault
    def test_what_a_proxy_sends_for_itself_is_passed_over_beside_what_is_ours(self, house: House, stage: Stage) -> None:
        _, key = house.world.key(stage.organization)
        of_proxy = {"Authorization": "Basic cHJveHk6c2VjcmV0"}
        path = f"/orgs/{stage.org}"
        assert house.client.get(path, headers=of_proxy | {"X-API-Key": key}).status_code == 200
        token = {"refresh_token": house.world.token(stage.owner)}
        answer(house.client.post("/auth/logout", headers=of_proxy, json=token))
        refusal(house.client.get(path, headers=of_proxy), 401, "malformed_credential")

    def test_a_header_line_sent_twice_is_refused(self, house: House, stage: Stage) -> None:
        """Granian joins the lines with a comma, as RFC 9110 has it."""
        keys = [house.world.key(stage.organization)[1] for _ in range(2)]
        for given in ([keys[0], keys[0]], keys):
            for name, scheme in (("Authorization", "ApiKey "), ("X-API-Key", "")):
                value = ",".join(scheme + key for key in given)
                refusal(house.client.get(f"/orgs/{stage.org}", headers={name: value}), 401, "malformed_credential")

    @pytest.mark.parametrize(
        "value", ["", " ", "ApiKey", "ApiKey \xff\xfe", "ApiKey msk_live_é", "A" * 100_000, "ApiKey " + "é" * 9_999]
    )
    def test_bytes_that_are_no_credential_are_refused_without_asking_the_database(
        self, house: House, stage: Stage, value: str
    ) -> None:
        path = f"/orgs/{stage.org}"
        for name in ("Authorization", "X-API-Key"):
            with statements(db.engine) as asked:
                response = house.client.get(path, headers={name: value})
            refusal(response, 401, "malformed_credential")
            assert asked == []

    def test_a_mistyped_key_is_refused_without_asking_the_database(self, house: House, stage: Stage) -> None:
        _, key = house.world.key(stage.organization)
        path = f"/orgs/{stage.org}"
        with statements(db.engine) as asked:
            for place in range(len(key)):
                changed = key[:place] + ("A" if key[place] != "A" else "B") + key[place + 1 :]
                response = house.client.get(path, headers=api_key(changed))
                assert response.get_json()["code"] in ("malformed_credential", "mistyped_credential")
        assert asked == []

    @pytest.mark.parametrize(
        "name",
        ["X-Forwarded-User", "Remote-User", "X-Remote-User", "X-User-Id", "X-Org-Id", "Cookie",
         "Proxy-Authorization", "X-Authorization", "X-Api-Token"],
    )  # fmt: skip
    def test_no_other_header_proves_anything(self, house: House, stage: Stage, name: str) -> None:
        _, key = house.world.key(stage.organization, *Scope)
        for value in (stage.owner.id, f"ApiKey {key}", f"session={key}"):
            refusal(house.client.get(f"/orgs/{stage.org}", headers={name: value}), 401, "missing_credential")

    def test_nor_does_the_query_or_the_body(self, house: House, stage: Stage) -> None:
        _, key = house.world.key(stage.organization, *Scope)
        for name in ("api_key", "access_token", "key", "token", "Authorization", "X-API-Key"):
            refusal(house.client.get(f"/orgs/{stage.org}?{name}={key}"), 401, "missing_credential")
            refusal(house.client.patch(f"/orgs/{stage.org}", json={name: key, "name": "x"}), 401, "missing_credential")

    def test_no_cookie_is_ever_set(self, house: House, stage: Stage) -> None:
        for path in ("/users/me", "/docs", "/health", "/password/x", f"/orgs/{stage.org}"):
            assert "Set-Cookie" not in house.client.get(path, headers=stage.headers).headers


class TestEnviron:
    @pytest.mark.parametrize(
        "environ",
        [
            {"REMOTE_USER": "usr_a"},
            {"AUTH_TYPE": "ApiKey", "REMOTE_USER": "usr_a"},
            {"HTTP_AUTHORIZATION ": "ApiKey x"},
            {"HTTP__AUTHORIZATION": "ApiKey x"},
            {"REDIRECT_HTTP_AUTHORIZATION": "ApiKey x"},
            {"AUTHORIZATION": "ApiKey x"},
            {"X_API_KEY": "x"},
        ],
    )
    def test_what_the_server_in_front_says_of_the_user_is_not_believed(
        self, house: House, stage: Stage, environ: dict[str, str]
    ) -> None:
        _, key = house.world.key(stage.organization, *Scope)
        given = {name: value.replace("usr_a", stage.owner.id).replace("x", key) for name, value in environ.items()}
        response = house.client.get(f"/orgs/{stage.org}", environ_overrides=given)
        refusal(response, 401, "missing_credential")

    @pytest.mark.parametrize("mounted_at", ["/sandbox", "/", "/sandbox/", "//sandbox"])
    def test_where_the_application_is_mounted_does_not_change_the_environment(
        self, house: House, stage: Stage, mounted_at: str
    ) -> None:
        _, key = house.world.key(stage.organization, environment=Environment.TEST)
        environ = {"SCRIPT_NAME": mounted_at, "PATH_INFO": f"/orgs/{stage.org}"}
        response = house.client.get("/", environ_overrides=environ, headers=api_key(key))
        refusal(response, 403, "wrong_environment")

    @pytest.mark.parametrize(
        "name", ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix", "X-Forwarded-Path", "X-Script-Name"]
    )
    def test_nor_does_a_header_that_names_another_path(self, house: House, stage: Stage, name: str) -> None:
        _, key = house.world.key(stage.organization, environment=Environment.TEST)
        headers = api_key(key) | {name: f"/sandbox/orgs/{stage.org}"}
        refusal(house.client.get(f"/orgs/{stage.org}", headers=headers), 403, "wrong_environment")

    @pytest.mark.parametrize("host", ["sandbox", "evil.example", "[::1]", "localhost:99999", "sandbox/", "/sandbox"])
    def test_the_host_decides_nothing(self, house: House, stage: Stage, host: str) -> None:
        _, key = house.world.key(stage.organization)
        response = house.client.get(f"/orgs/{stage.org}", headers=api_key(key) | {"Host": host})
        assert response.status_code in (200, 400)  # Werkzeug refuses what is no name of a host


class TestMethods:
    @pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
    def test_a_header_does_not_change_the_method(self, house: House, stage: Stage, name: str) -> None:
        path = f"/orgs/{stage.org}/api-keys/{stage.key}"
        for method in ("DELETE", "PATCH", "POST"):
            response = house.client.get(path, headers=stage.headers | {name: method})
            assert answer(response)["state"] == "active"
            refusal(house.client.get(f"{path}?_method={method}", headers=stage.headers), 422, "invalid_input")

    def test_a_form_does_not_change_the_method(self, house: House, stage: Stage) -> None:
        path = f"/orgs/{stage.org}/api-keys/{stage.key}"
        response = house.client.post(path, data={"_method": "DELETE"}, headers=stage.headers)
        refusal(response, 405, "method_not_allowed")

    def test_head_is_guarded_like_get(self, house: House, stage: Stage) -> None:
        path = f"/orgs/{stage.org}/api-keys"
        _, weak = house.world.key(stage.organization, Scope.READ)
        assert house.client.head(path).status_code == 401
        assert house.client.head(path, headers=api_key(weak)).status_code == 403
        good = house.client.head(path, headers=stage.headers)
        assert (good.status_code, good.data) == (200, b"")

    def test_options_tells_the_methods_and_nothing_else_and_changes_nothing(self, house: House, stage: Stage) -> None:
        before = all_rows() if stage.headers else {}
        existing, missing = (house.client.options(f"/orgs/{org}") for org in (stage.org, "org_aaaaaaaaaaaa"))
        assert existing.data == missing.data == b""
        for response in (existing, missing):
            assert set(response.allow) == {"GET", "HEAD", "OPTIONS", "PATCH", "DELETE"}
            assert not [name for name, _ in response.headers if name.startswith("Access-Control")]
        for path in ("/auth/logout", f"/orgs/{stage.org}"):
            assert house.client.options(path, headers=stage.headers, json={"name": "x"}).status_code == 200
        assert all_rows() == before

    @pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get", "DELETE ", "\u00c9", "PUT"])
    def test_a_method_that_is_not_there_is_refused(self, house: House, stage: Stage, method: str) -> None:
        response = house.client.get("/users/me", environ_overrides={"REQUEST_METHOD": method}, headers=stage.headers)
        # Werkzeug reads methods in any case, and so a lower-case one asks for what the guard has let in.
        assert response.status_code in (200, 405)
        if response.status_code == 405:
            assert set(response.allow) == {"GET", "HEAD", "OPTIONS"}


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        ["/orgs//{org}", "/orgs/{org}/", "/orgs/{org}//api-keys", "/sandbox//orgs/{org}", "/sandbox/../orgs/{org}",
         "/sandbox/./orgs/{org}", "/sandbox/sandbox/orgs/{org}", "/./orgs/{org}", "/orgs/../orgs/{org}",
         "/orgs/x/../{org}", "/orgs/..%2f{org}", "/orgs/..%5c{org}", "/SANDBOX/orgs/{org}", "/Orgs/{org}",
         "/orgs/{org};a=b", "/orgs;/{org}", "/orgs/{org}%2f", "/orgs/{org}%00", "/orgs/{org}%20", "/orgs/{org}.json",
         "/orgs/{org}%3fx", "/orgs/{org}%23", "/orgs%00/{org}", "\\orgs\\{org}", "/ｏrgs/{org}",
         "/static/..%2f..%2fapp.py", "/static/../../../setup.cfg", "/static/%2e%2e/%2e%2e/app.py",
         "/static//etc/passwd"],
    )  # fmt: skip
    def test_another_spelling_is_another_address(self, house: House, stage: Stage, path: str) -> None:
        _, key = house.world.key(stage.organization, *Scope)
        _, test_key = house.world.key(stage.organization, *Scope, environment=Environment.TEST)
        for headers in (stage.headers, api_key(key), api_key(test_key)):
            # As a server hands it over: decoded, byte by byte.
            environ = {"PATH_INFO": unquote_to_bytes(path.format(org=stage.org)).decode("latin-1")}
            response = house.client.get("/", environ_overrides=environ, headers=headers)
            assert response.status_code in (403, 404, 422), response.headers.get("Location")
            assert response.content_type == "application/problem+json"

    @pytest.mark.parametrize("slashes", ["//", "///", "/" * 1000])
    def test_more_slashes_in_front_change_nothing(self, house: House, stage: Stage, slashes: str) -> None:
        """Werkzeug drops them before it looks for a rule, and the rule says which environment it is."""
        for environment, path in ((Environment.LIVE, "sandbox/orgs"), (Environment.TEST, "orgs")):
            _, key = house.world.key(stage.organization, environment=environment)
            response = house.client.get("/", environ_overrides={"PATH_INFO": slashes + path}, headers=api_key(key))
            refusal(response, 403, "wrong_environment")

    def test_an_encoded_slash_cannot_change_the_environment(self, house: House, stage: Stage) -> None:
        """WSGI hands the path over decoded, so it is the same address, under the same rule."""
        for environment, status in ((Environment.LIVE, 403), (Environment.TEST, 200)):
            _, key = house.world.key(stage.organization, environment=environment)
            assert house.client.get(f"/sandbox%2forgs/{stage.org}", headers=api_key(key)).status_code == status

    def test_an_organization_called_sandbox_is_an_organization(self, house: House, stage: Stage) -> None:
        _, test_key = house.world.key(stage.organization, environment=Environment.TEST)
        refusal(house.client.get("/orgs/sandbox", headers=stage.headers), 404, "org_not_found")
        refusal(house.client.get("/orgs/sandbox/members", headers=api_key(test_key)), 404, "org_not_found")


class TestBodies:
    def send(self, house: House, stage: Stage, body: bytes, content_type: str | None = "application/json") -> Any:
        before = all_rows() if stage.headers else {}
        response = house.client.post(
            f"/orgs/{stage.org}/api-keys", data=body, content_type=content_type, headers=stage.headers
        )
        if response.status_code != 200:
            assert all_rows() == before
        return response

    def test_a_hundred_fields_are_enough(self, house: House, stage: Stage) -> None:
        """Each unknown field costs an error to be told, and a body of a megabyte holds a hundred thousand."""
        body = {f"field{number}": 1 for number in range(100)}
        assert refusal(self.send(house, stage, json.dumps(body).encode()), 422, "invalid_input")["errors"]
        refused = refusal(self.send(house, stage, json.dumps(body | {"more": 1}).encode()), 422, "invalid_input")
        assert [fault["field"] for fault in refused["errors"]] == ["body"]

    @pytest.mark.parametrize(
        "body",
        [b'{"name": 1e300}', b'{"name": 9223372036854775807}', b'{"name": "\\u0000"}', b'{"": "x", "name": "x"}',
         b'{"name": "x", "__proto__": {}}', b'{"name": "x", "\\u006eame ": "y"}'],
        ids=repr,
    )  # fmt: skip
    def test_odd_values_are_refused(self, house: House, stage: Stage, body: bytes) -> None:
        refusal(self.send(house, stage, body), 422, "invalid_input")

    @pytest.mark.parametrize(
        "content_type",
        [None, "", "text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
         "application/xml", "application/json5", "json"],
    )  # fmt: skip
    def test_another_content_type_is_refused(self, house: House, stage: Stage, content_type: str | None) -> None:
        """A form of another site can send these, and only these, without asking."""
        refusal(self.send(house, stage, b'{"name": "x"}', content_type), 415, "unsupported_media_type")

    @pytest.mark.parametrize(
        "content_type", ["application/json", "APPLICATION/JSON", "application/json; charset=utf-8"]
    )
    def test_json_is_taken(self, house: House, stage: Stage, content_type: str) -> None:
        assert answer(self.send(house, stage, b'{"name": "x"}', content_type))["name"] == "x"

    def test_who_may_not_is_refused_before_the_body_is_read(self, house: House, stage: Stage) -> None:
        _, weak = house.world.key(stage.organization, Scope.READ)
        for headers, status, code in ((api_key(weak), 403, "missing_scope"), ({}, 401, "missing_credential")):
            for body in (b"{", b"a" * 2_000_000):
                response = house.client.post(
                    f"/orgs/{stage.org}/api-keys", data=body, content_type="application/json", headers=headers
                )
                refusal(response, status, code)

    def test_a_get_with_a_body_is_a_get(self, house: House, stage: Stage) -> None:
        response = house.client.get(f"/orgs/{stage.org}", data=b"\xff" * 100, headers=stage.headers)
        assert answer(response)["org_id"] == stage.org


def test_the_principal_of_one_request_is_not_that_of_the_next(house: House, stage: Stage) -> None:
    other = house.world.user()
    for user in (stage.owner, other, stage.owner):
        assert answer(house.client.get("/users/me", headers=bearer(house.world.token(user))))["user_id"] == user.id
    refusal(house.client.get("/users/me"), 401, "missing_credential")


def test_what_only_reads_with_a_key_makes_no_session(
    house: House, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = house.world.key(stage.organization)
    made: list[object] = []
    monkeypatch.setattr("mushu.server.core._tell", made.append)
    org = f"/orgs/{stage.org}"
    for path in ("/health", org, f"{org}/tenants", "/orgs", f"{org}/members"):
        assert not made, "members are still read with one"
        assert house.client.get(path, headers=api_key(key)).status_code == 200
    assert made
