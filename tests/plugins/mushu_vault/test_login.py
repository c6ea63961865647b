"""Who we say we are: tokens, logins, the files that they are in, and what happens when they end."""

import os
from pathlib import Path
from typing import Any

import pytest

from mushu.destination import Denied, DestinationError
from tests.plugins.mushu_vault.places import KEY, backend, deliver, destination, logins, private, refused, role_of
from tests.vault.real import RealVault
from tests.vault.server import VaultStub

_PATH = "apps/backend"


# Tokens


def test_a_token_is_taken_from_our_settings_then_vaults_variable_then_openbaos(
    stub: VaultStub, rules: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = stub.token([rules]), "hvs.nobody"
    monkeypatch.setenv("BAO_ADDR", stub.address)
    monkeypatch.setenv("BAO_TOKEN", good)
    assert backend().read().digest is None
    monkeypatch.setenv("VAULT_TOKEN", bad)
    refused(backend().read, "from VAULT_TOKEN", kind=Denied)
    assert backend(token=good).read().digest is None


def test_a_token_of_vault_login_is_found_in_the_home_folder(stub: VaultStub, rules: str) -> None:
    private(Path(os.environ["HOME"]) / ".vault-token", f"{stub.token([rules])}\n")
    assert backend(addr=stub.address).read().digest is None


def test_a_token_that_others_can_read_is_refused(stub: VaultStub) -> None:
    path = Path(os.environ["HOME"]) / ".vault-token"
    private(path, stub.root_token)
    path.chmod(0o644)
    refused(backend(addr=stub.address).read, f"chmod 600 {path}")
    assert stub.requests == []


@pytest.mark.parametrize("auth", [{}, {"auth": "token"}])
def test_a_token_of_one_server_is_not_shown_to_another(
    stub: VaultStub, monkeypatch: pytest.MonkeyPatch, auth: dict[str, str]
) -> None:
    """A named destination with an address of its own needs credentials of its own."""
    private(Path(os.environ["HOME"]) / ".vault-token", "hvs.of-the-other-server")
    monkeypatch.setenv("VAULT_ADDR", "https://vault.example.com")
    monkeypatch.setenv("VAULT_TOKEN", "hvs.of-the-other-server")
    refused(backend(addr=stub.address, **auth).read, permanent=True)
    assert stub.requests == []
    assert backend(addr=stub.address, token=stub.root_token).read().digest is None
    monkeypatch.setenv("VAULT_ADDR", f"{stub.address}/")
    monkeypatch.setenv("VAULT_TOKEN", stub.root_token)
    assert backend(addr=stub.address).read().digest is None


def test_no_token_at_all_is_said_before_anything_is_asked(stub: VaultStub) -> None:
    for act in (backend(addr=stub.address).read, backend(addr=stub.address).preflight):
        refused(act, "Set VAULT_TOKEN, or log in", permanent=True)
    assert stub.requests == []


@pytest.mark.parametrize("token", ["two words", "line\nX-Evil: 1", "tökén", "x" * 70_000])
def test_a_token_that_is_no_token_is_refused_and_not_repeated(stub: VaultStub, token: str) -> None:
    said = refused(backend(addr=stub.address, token=token).read, "MUSHU_VAULT_TOKEN is not one printable word")
    assert token not in said


def test_a_token_that_has_ended_is_called_that_not_a_missing_policy(stub: VaultStub, rules: str) -> None:
    token = stub.token([rules])
    stub.revoke(token)
    for act in (backend(addr=stub.address, token=token).read, backend(addr=stub.address, token=token).preflight):
        refused(act, "does not know the token from MUSHU_VAULT_TOKEN", kind=Denied)


@pytest.mark.fault
def test_a_token_that_is_used_up_half_way_is_called_that_not_a_missing_policy(vault: RealVault, kv2: str) -> None:
    vault.policy("half-way", {vault.data(kv2, "apps/backend"): ["create", "read", "update"]})
    for uses in (1, 2):
        wanted = {"policies": ["half-way"], "num_uses": uses}
        token = vault.do("POST", "auth/token/create", wanted)["auth"]["client_token"]
        refused(
            lambda token=token: deliver(destination(vault, f"{kv2}/apps/backend", token=token)),  # type: ignore[misc]
            "was used up",
            kind=Denied,
        )


@pytest.mark.fault
def test_a_token_of_another_namespace_says_of_which(vault: RealVault) -> None:
    for name in ("mushu-mine", "mushu-theirs"):
        vault.namespace(name)
        vault.mount("kv", namespace=name)
    token = vault.token(namespace="mushu-mine")
    for namespace in ("mushu-theirs", "root"):
        place = destination(vault, "kv/apps/backend", token=token, namespace=namespace)
        for act in (place.read, place.preflight):
            refused(act, "belongs to the namespace mushu-mine.* Set VAULT_NAMESPACE=mushu-mine", kind=Denied)
    place = destination(vault, "kv/apps/backend", token=token, namespace="mushu-mine")
    refused(place.read, "There is no mount for", kind=Denied)


# AppRole


@pytest.mark.fault
def test_a_role_that_asks_for_a_secret_id_says_where_to_put_it(stub: VaultStub, rules: str) -> None:
    role_id, _ = stub.approle("backend", [rules])
    refused(backend(addr=stub.address, role_id=role_id).read, "alone. Set VAULT_SECRET_ID_FILE", kind=Denied)


def test_an_approle_logs_in_with_a_secret_id_from_a_file_wrapped_or_not(
    vault: RealVault, kv2: str, tmp_path: Path
) -> None:
    vault.policy("mushu-keys", {f"{kv2}/data/*": ["create", "read", "patch"]})
    role_id, secret_id = vault.approle("backend", ["mushu-keys"], mount="mushu-approle")
    plain = private(tmp_path / "id", f"{secret_id}\n")
    wrapped = private(tmp_path / "wrapped", vault.wrapped_secret_id("backend", mount="mushu-approle"))
    # It is unwrapped once, and kept.
    for own in ({"secret_id_file": plain}, *[{"wrapped_secret_id_file": wrapped}] * 2):
        place = destination(vault, f"{kv2}/{_PATH}", role_id=role_id, auth_mount="mushu-approle", **own)
        place.preflight()
        deliver(place)
        assert place.read().digest == KEY.digest()


def test_vaults_own_variables_name_role_and_file(
    stub: VaultStub, rules: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    role_id, secret_id = stub.approle("backend", [rules])
    monkeypatch.setenv("VAULT_ADDR", stub.address)
    monkeypatch.setenv("VAULT_ROLE_ID", role_id)
    monkeypatch.setenv("VAULT_SECRET_ID_FILE", private(tmp_path / "id", secret_id))
    deliver(backend())
    monkeypatch.setenv("VAULT_TOKEN", "hvs.nobody")
    refused(backend().read, "VAULT_TOKEN", kind=Denied)
    # What was set for Mushu goes before what was set for everybody.
    assert backend(role_id=role_id, secret_id=secret_id).read().digest == KEY.digest()


def test_a_role_that_asks_for_no_secret_id_needs_none(stub: VaultStub, rules: str) -> None:
    role_id, _ = stub.approle("backend", [rules], bind_secret_id=False, token_bound_cidrs="127.0.0.1/32")
    deliver(backend(addr=stub.address, role_id=role_id))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o610])
def test_a_secret_id_that_others_can_read_is_refused(stub: VaultStub, tmp_path: Path, mode: int) -> None:
    path = tmp_path / "id"
    path.write_text("x")
    path.chmod(mode)
    for name in ("secret_id_file", "wrapped_secret_id_file"):
        refused(backend(addr=stub.address, role_id="r", **{name: str(path)}).read, f"chmod 600 {path}", permanent=True)
    assert stub.requests == []


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "empty", "binary", "long", "words", "nul"])
@pytest.mark.timeout(20)
def test_a_secret_id_file_that_holds_none_is_refused(stub: VaultStub, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "id"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    elif kind not in ("missing", "nul"):
        contents = {"empty": b"\n", "binary": b"\xff\xfe", "long": b"x" * 70_000, "words": b"two words"}
        path.touch(0o600)
        path.write_bytes(contents[kind])
    name = f"{path}\0" if kind == "nul" else str(path)
    said = refused(
        backend(addr=stub.address, role_id="r", secret_id_file=name).read, "VAULT_SECRET_ID_FILE", permanent=True
    )
    assert said.isprintable()


def test_a_login_that_is_refused_says_what_to_look_at(stub: VaultStub, rules: str, tmp_path: Path) -> None:
    role_id, _ = stub.approle("backend", [rules])
    path = private(tmp_path / "id", "6f1d-wrong-secret-id")
    said = refused(
        backend(addr=stub.address, role_id=role_id, secret_id_file=path).read,
        "refuses the login at auth/approle",
        kind=Denied,
    )
    assert "wrong-secret-id" not in said


@pytest.mark.parametrize(("status", "permanent"), [(500, False), (503, False), (429, False), (412, False), (307, True)])
def test_a_login_that_is_not_answered_is_no_refusal(stub: VaultStub, rules: str, status: int, permanent: bool) -> None:
    stub.fault("error-before", "POST", "auth/approle/login", status=status)
    with pytest.raises(DestinationError) as caught:
        backend(**role_of(stub, rules)).read()
    assert caught.value.permanent is permanent
    assert not isinstance(caught.value, Denied)


@pytest.mark.parametrize("kind", ["html", "invalid-json", "errors-in-200"])
def test_a_login_that_answers_without_a_token_passes(stub: VaultStub, rules: str, kind: Any) -> None:
    stub.fault(kind, "POST", "auth/approle/login")
    refused(backend(**role_of(stub, rules)).read, permanent=False)


# Wrapping


def _wrapped(stub: VaultStub, rules: str, tmp_path: Path, **wanted: Any) -> dict[str, str]:
    role_id, _ = stub.approle("backend", [rules], **wanted)
    path = private(tmp_path / "wrapped", stub.wrapped_secret_id("backend"))
    return {"addr": stub.address, "role_id": role_id, "wrapped_secret_id_file": path}


@pytest.mark.parametrize("spoiled", ["unwrapped", "unknown"])
def test_a_secret_id_that_cannot_be_unwrapped_may_have_been_intercepted(
    stub: VaultStub, rules: str, tmp_path: Path, spoiled: str
) -> None:
    settings = _wrapped(stub, rules, tmp_path)
    token = Path(settings["wrapped_secret_id_file"]).read_text()
    if spoiled == "unwrapped":
        stub.do("POST", "sys/wrapping/unwrap", {"token": token})
    else:
        Path(settings["wrapped_secret_id_file"]).write_text("hvs.unknown")
    said = refused(backend(**settings).read, "somebody intercepted it", kind=Denied)
    assert token not in said
    assert logins(stub) == 0


def test_what_was_wrapped_elsewhere_is_not_unwrapped(stub: VaultStub, rules: str, tmp_path: Path) -> None:
    settings = _wrapped(stub, rules, tmp_path)
    Path(settings["wrapped_secret_id_file"]).write_text(stub.wrap({"secret_id": stub.secret_id("backend")}))
    refused(backend(**settings).read, "was not made by auth/approle", kind=Denied)
    assert not [request for request in stub.requests if request.path == "sys/wrapping/unwrap"]


@pytest.mark.fault
@pytest.mark.parametrize("name", ["wrapped_secret_id_file", "secret_id_file", "secret_id"])
def test_a_secret_id_for_mushu_goes_before_a_token_for_everybody(
    stub: VaultStub, rules: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settings = _wrapped(stub, rules, tmp_path) | role_of(stub, rules)
    settings["secret_id_file"] = private(tmp_path / "id", settings["secret_id"])
    monkeypatch.setenv("VAULT_ROLE_ID", settings["role_id"])
    monkeypatch.setenv("VAULT_TOKEN", "hvs.nobody")
    deliver(backend(addr=stub.address, **{name: settings[name]}))


@pytest.mark.parametrize("path", ["sys/wrapping/lookup", "sys/wrapping/unwrap"])
def test_a_wrapping_that_is_not_answered_for_is_no_interception(
    stub: VaultStub, rules: str, tmp_path: Path, path: str
) -> None:
    settings = _wrapped(stub, rules, tmp_path)
    stub.fault("error-before", "POST", path)
    refused(backend(**settings).read, permanent=False)
    deliver(backend(**settings))


def test_the_secret_id_outlives_the_token_that_it_gave(stub: VaultStub, rules: str, tmp_path: Path) -> None:
    settings = _wrapped(stub, rules, tmp_path, token_num_uses=5)
    for _ in range(6):
        backend(**settings).read()
    assert logins(stub) > 1
    assert [request.path for request in stub.requests].count("sys/wrapping/unwrap") == 1


# Kubernetes and JWT


@pytest.mark.parametrize("method", ["kubernetes", "jwt"])
@pytest.mark.parametrize("mount", [{}, {"auth_mount": "auth/cluster/"}])
def test_a_jwt_is_read_from_its_file_at_each_login(
    stub: VaultStub, rules: str, tmp_path: Path, method: str, mount: dict[str, str]
) -> None:
    path = tmp_path / "jwt"
    first, second = (stub.jwt_role(role, [rules], "cluster" if mount else method) for role in ("backend", "other"))
    path.write_text(f"{first}\n")  # readable by all, as the kubelet makes it
    settings = {"addr": stub.address, "auth": method, "jwt_file": str(path), **mount}
    deliver(backend(role="backend", **settings))
    path.write_text(second)
    refused(backend(role="backend", **settings).read, "refuses the login", kind=Denied)
    assert backend(role="other", **settings).read().digest == KEY.digest()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        pytest.param({"role": "r"}, "MUSHU_VAULT_ROLE is set, and MUSHU_VAULT_AUTH", marks=pytest.mark.fault),
        ({"jwt_file": "/jwt"}, "MUSHU_VAULT_JWT_FILE is set, and MUSHU_VAULT_AUTH"),
        ({"auth": "ldap"}, "MUSHU_VAULT_AUTH must be one of token, approle, kubernetes, jwt"),
        ({"auth": "approle"}, "VAULT_ROLE_ID is not set"),
        ({"auth": "kubernetes"}, "MUSHU_VAULT_ROLE"),
        ({"auth": "jwt", "role": "r"}, "MUSHU_VAULT_JWT_FILE"),
        ({"auth": "kubernetes", "role": "r"}, "serviceaccount/token"),
        ({"auth": "approle", "role_id": "r", "auth_mount": "../sys"}, "name of a mount"),
        ({"auth": "approle", "role_id": "r", "auth_mount": "a\nb"}, "name of a mount"),
    ],
)
def test_a_method_that_lacks_something_says_what(stub: VaultStub, settings: dict[str, str], sentence: str) -> None:
    refused(backend(addr=stub.address, **settings).read, sentence, permanent=True)
    assert stub.requests == []
