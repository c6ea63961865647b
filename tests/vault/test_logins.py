"""Logging in, and what comes wrapped. AppRole and wrapping the same on a real server."""

from typing import Any

import httpx
import hvac.exceptions
import pytest

from tests.vault.places import Place, errors
from tests.vault.server import VaultStub

_INVALID = (400, ["invalid role or secret ID"])
_UNWRAPPED = (400, ["wrapping token is not valid or does not exist"])
_DENIED = (403, ["permission denied"])


def test_a_role_with_its_secret_id_gets_a_token(bare_place: Place) -> None:
    place = bare_place
    role_id, secret_id = place.server.approle("app", ["p"], mount=place.name, token_ttl=600)
    auth = _login(place, role_id, secret_id).json()["auth"]
    assert (auth["policies"], auth["lease_duration"], auth["renewable"]) == (["default", "p"], 600, True)
    assert (auth["metadata"], auth["orphan"], auth["num_uses"]) == ({"role_name": "app"}, True, 0)
    told = place.ask("GET", "auth/token/lookup-self", token=auth["client_token"]).json()["data"]
    assert (told["id"], told["path"]) == (auth["client_token"], f"auth/{place.name}/login")


def test_hvac_logs_in(bare_place: Place) -> None:
    role_id, secret_id = bare_place.server.approle("app", [], mount=bare_place.name, secret_id_num_uses=1)
    client = bare_place.hvac("")
    client.auth.approle.login(role_id, secret_id, mount_point=bare_place.name)
    assert client.is_authenticated()
    with pytest.raises(hvac.exceptions.InvalidRequest, match="invalid role or secret ID"):
        client.auth.approle.login(role_id, secret_id, mount_point=bare_place.name)


def test_a_wrong_role_or_secret_id_is_refused(bare_place: Place) -> None:
    place = bare_place
    role_id, secret_id = place.server.approle("app", [], mount=place.name)
    assert errors(_login(place, "nope", secret_id)) == _INVALID
    assert errors(_login(place, role_id, "nope")) == _INVALID
    assert errors(_login(place, role_id)) == (400, ["missing secret_id"])
    assert errors(place.ask("POST", f"auth/{place.name}/login", {}, "")) == (500, ["missing role_id"])


def test_a_login_that_is_not_mounted_is_denied(bare_place: Place) -> None:
    assert errors(bare_place.ask("POST", "auth/nowhere/login", {"role_id": "x"}, "")) == _DENIED


def test_a_login_may_be_for_a_few_requests_only(bare_place: Place) -> None:
    place = bare_place
    login = place.server.approle("app", [], mount=place.name, token_num_uses=1)
    token = _login(place, *login).json()["auth"]["client_token"]
    assert place.ask("GET", "auth/token/lookup-self", token=token).status_code == 200
    assert errors(place.ask("GET", "auth/token/lookup-self", token=token)) == _DENIED


def test_a_wrapped_secret_id_unwraps_once(bare_place: Place) -> None:
    place = bare_place
    role_id, _ = place.server.approle("app", [], mount=place.name)
    wrapped = place.server.wrapped_secret_id("app", mount=place.name)
    told = place.ask("POST", "sys/wrapping/lookup", {"token": wrapped}, "").json()["data"]
    assert (told["creation_ttl"], told["creation_path"]) == (60, f"auth/{place.name}/role/app/secret-id")
    data = place.ask("POST", "sys/wrapping/unwrap", token=wrapped).json()["data"]
    assert set(data) == {"secret_id", "secret_id_accessor", "secret_id_num_uses", "secret_id_ttl"}
    assert _login(place, role_id, data["secret_id"]).status_code == 200
    assert errors(place.ask("POST", "sys/wrapping/unwrap", token=wrapped)) == _UNWRAPPED
    assert errors(place.ask("POST", "sys/wrapping/lookup", {"token": wrapped}, "")) == _UNWRAPPED


def test_a_token_that_wraps_nothing_does_not_unwrap(bare_place: Place) -> None:
    for token in (bare_place.server.root_token, "s.nope"):
        assert errors(bare_place.ask("POST", "sys/wrapping/unwrap", token=token)) == _UNWRAPPED
    empty = (403, ["error validating wrapping token: token is empty"])
    assert errors(bare_place.ask("POST", "sys/wrapping/unwrap", token="")) == empty


def test_a_kubernetes_role_takes_its_jwt_and_no_other(stub_place: Place, stub: VaultStub) -> None:
    place, path = stub_place, "auth/cluster/login"
    stub.kubernetes_role("app", "good.jwt.text", ["p"], mount="cluster", token_ttl=60)
    auth = place.ask("POST", path, {"role": "app", "jwt": "good.jwt.text"}, "").json()["auth"]
    assert (auth["policies"], auth["lease_duration"]) == (["default", "p"], 60)
    assert errors(place.ask("POST", path, {"role": "app", "jwt": "bad"}, "")) == _DENIED
    assert errors(place.ask("POST", path, {"role": "no", "jwt": "x"}, "")) == (400, ['invalid role name "no"'])
    assert errors(place.ask("POST", path, {"role": "app"}, "")) == (400, ["missing jwt"])


def test_a_jwt_role_takes_its_jwt_and_no_other(stub_place: Place, stub: VaultStub) -> None:
    place, path = stub_place, "auth/jwt/login"
    stub.jwt_role("ci", "good.jwt.text", ["p"])
    assert place.ask("POST", path, {"role": "ci", "jwt": "good.jwt.text"}, "").status_code == 200
    wrong = place.ask("POST", path, {"role": "ci", "jwt": "bad"}, "")
    assert errors(wrong)[1][0].startswith("error validating token: ")
    assert errors(place.ask("POST", path, {"role": "no", "jwt": "x"}, "")) == (400, ['role "no" could not be found'])
    assert errors(place.ask("POST", path, {"jwt": "x"}, "")) == (400, ["missing role"])


def _login(place: Place, role_id: str, secret_id: str | None = None) -> httpx.Response:
    body: dict[str, Any] = {"role_id": role_id} | ({"secret_id": secret_id} if secret_id else {})
    return place.ask("POST", f"auth/{place.name}/login", body, "")
