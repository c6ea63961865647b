"""Who we say we are: tokens, logins, the files that they are in, and what happens when they end."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mushu.destination import Attempt, Denied, DestinationError, Secret, Surroundings
from mushu.testing.processes import fork, wait_for
from mushu_vault import VaultDestination
from mushu_vault.tokens import Lease, Tokens
from tests.plugins.mushu_vault.places import KEY, Server, deliver, destination
from tests.vault.server import VaultStub

_PATH = "apps/backend"
_RULES = {"secret/data/*": ["create", "read", "update", "patch"], "secret/metadata/*": ["patch"]}


@pytest.fixture
def rules(stub: VaultStub) -> str:
    stub.policy("keys", _RULES)
    return "keys"


def _private(path: Path, text: str) -> str:
    path.touch(0o600)
    path.write_text(text)
    return str(path)


def _made(**settings: str) -> VaultDestination:
    made = VaultDestination.parse(f"vault:secret/{_PATH}", Surroundings(Path("/nowhere"), settings))
    assert made is not None
    return made


def _logins(stub: VaultStub) -> int:
    return sum(request.path.endswith("/login") for request in stub.requests)


# Tokens


def test_a_token_is_taken_from_our_settings_then_vaults_variable_then_openbaos(
    stub: VaultStub, rules: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = stub.token([rules]), "hvs.nobody"
    monkeypatch.setenv("BAO_ADDR", stub.address)
    monkeypatch.setenv("BAO_TOKEN", good)
    assert _made().read().digest is None
    monkeypatch.setenv("VAULT_TOKEN", bad)
    with pytest.raises(Denied, match="from VAULT_TOKEN"):
        _made().read()
    assert _made(token=good).read().digest is None


def test_a_token_of_vault_login_is_found_in_the_home_folder(stub: VaultStub, rules: str) -> None:
    _private(Path(os.environ["HOME"]) / ".vault-token", f"{stub.token([rules])}\n")
    assert _made(addr=stub.address).read().digest is None


def test_a_token_that_others_can_read_is_refused(stub: VaultStub) -> None:
    path = Path(os.environ["HOME"]) / ".vault-token"
    _private(path, stub.root_token)
    path.chmod(0o644)
    with pytest.raises(DestinationError, match=f"chmod 600 {path}"):
        _made(addr=stub.address).read()
    assert stub.requests == []


def test_no_token_at_all_is_said_before_anything_is_asked(stub: VaultStub) -> None:
    for act in (_made(addr=stub.address).read, _made(addr=stub.address).preflight):
        with pytest.raises(DestinationError, match="Set VAULT_TOKEN, or log in") as caught:
            act()
        assert caught.value.permanent
    assert stub.requests == []


@pytest.mark.parametrize("token", ["two words", "line\nX-Evil: 1", "tökén", "x" * 70_000])
def test_a_token_that_is_no_token_is_refused_and_not_repeated(stub: VaultStub, token: str) -> None:
    with pytest.raises(DestinationError, match="MUSHU_VAULT_TOKEN is not one printable word") as caught:
        _made(addr=stub.address, token=token).read()
    assert token not in str(caught.value)


@pytest.mark.parametrize("product", ["Vault", "OpenBao"])
def test_a_token_that_has_ended_is_called_that_not_a_missing_policy(product: Any) -> None:
    with VaultStub(product) as stub:
        stub.mount("secret")
        token = stub.token(["root"])
        stub.revoke(token)
        for act in (_made(addr=stub.address, token=token).read, _made(addr=stub.address, token=token).preflight):
            with pytest.raises(Denied, match="does not know the token from MUSHU_VAULT_TOKEN"):
                act()


# AppRole


def test_an_approle_logs_in_with_a_secret_id_from_a_file(vault: Server, kv2: str, tmp_path: Path) -> None:
    vault.policy("mushu-keys", {f"{kv2}/data/*": ["create", "read", "patch"]})
    role_id, secret_id = vault.approle("backend", ["mushu-keys"], mount="mushu-approle")
    settings = {"role_id": role_id, "secret_id_file": _private(tmp_path / "id", f"{secret_id}\n")}
    place = destination(vault, f"{kv2}/{_PATH}", auth_mount="mushu-approle", **settings)
    place.preflight()
    deliver(place)
    assert place.read().digest == KEY.digest()


def test_a_wrapped_secret_id_is_unwrapped_once_and_kept(vault: Server, kv2: str, tmp_path: Path) -> None:
    vault.policy("mushu-keys", {f"{kv2}/data/*": ["create", "read", "patch"]})
    role_id, _ = vault.approle("backend", ["mushu-keys"], mount="mushu-approle")
    wrapped = _private(tmp_path / "wrapped", vault.wrapped_secret_id("backend", mount="mushu-approle"))
    settings = {"role_id": role_id, "wrapped_secret_id_file": wrapped, "auth_mount": "mushu-approle"}
    for _ in range(2):
        deliver(destination(vault, f"{kv2}/{_PATH}", **settings))


def test_vaults_own_variables_name_role_and_file(
    stub: VaultStub, rules: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    role_id, secret_id = stub.approle("backend", [rules])
    monkeypatch.setenv("VAULT_ADDR", stub.address)
    monkeypatch.setenv("VAULT_ROLE_ID", role_id)
    monkeypatch.setenv("VAULT_SECRET_ID_FILE", _private(tmp_path / "id", secret_id))
    deliver(_made())
    monkeypatch.setenv("VAULT_TOKEN", "hvs.nobody")
    with pytest.raises(Denied, match="VAULT_TOKEN"):
        _made().read()
    # What was set for Mushu goes before what was set for everybody.
    assert _made(role_id=role_id, secret_id=secret_id).read().digest == KEY.digest()


def test_a_role_that_asks_for_no_secret_id_needs_none(stub: VaultStub, rules: str) -> None:
    role_id, _ = stub.approle("backend", [rules], bind_secret_id=False)
    deliver(_made(addr=stub.address, role_id=role_id))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o610])
def test_a_secret_id_that_others_can_read_is_refused(stub: VaultStub, tmp_path: Path, mode: int) -> None:
    path = tmp_path / "id"
    path.write_text("x")
    path.chmod(mode)
    for name in ("secret_id_file", "wrapped_secret_id_file"):
        with pytest.raises(DestinationError, match=f"chmod 600 {path}") as caught:
            _made(addr=stub.address, role_id="r", **{name: str(path)}).read()
        assert caught.value.permanent
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
    with pytest.raises(DestinationError, match="VAULT_SECRET_ID_FILE") as caught:
        _made(addr=stub.address, role_id="r", secret_id_file=name).read()
    assert caught.value.permanent
    assert str(caught.value).isprintable()


def test_a_login_that_is_refused_says_what_to_look_at(stub: VaultStub, rules: str, tmp_path: Path) -> None:
    role_id, _ = stub.approle("backend", [rules])
    path = _private(tmp_path / "id", "6f1d-wrong-secret-id")
    with pytest.raises(Denied, match="refuses the login at auth/approle") as caught:
        _made(addr=stub.address, role_id=role_id, secret_id_file=path).read()
    assert "wrong-secret-id" not in str(caught.value)


@pytest.mark.parametrize(("status", "permanent"), [(500, False), (503, False), (429, False), (412, False), (307, True)])
def test_a_login_that_is_not_answered_is_no_refusal(stub: VaultStub, rules: str, status: int, permanent: bool) -> None:
    role_id, secret_id = stub.approle("backend", [rules])
    stub.fault("error-before", "POST", "auth/approle/login", status=status)
    with pytest.raises(DestinationError) as caught:
        _made(addr=stub.address, role_id=role_id, secret_id=secret_id).read()
    assert caught.value.permanent is permanent
    assert not isinstance(caught.value, Denied)


@pytest.mark.parametrize("kind", ["html", "invalid-json", "errors-in-200"])
def test_a_login_that_answers_without_a_token_passes(stub: VaultStub, rules: str, kind: Any) -> None:
    role_id, secret_id = stub.approle("backend", [rules])
    stub.fault(kind, "POST", "auth/approle/login")
    with pytest.raises(DestinationError) as caught:
        _made(addr=stub.address, role_id=role_id, secret_id=secret_id).read()
    assert not caught.value.permanent


# Wrapping


def _wrapped(stub: VaultStub, rules: str, tmp_path: Path) -> dict[str, str]:
    role_id, _ = stub.approle("backend", [rules])
    path = _private(tmp_path / "wrapped", stub.wrapped_secret_id("backend"))
    return {"addr": stub.address, "role_id": role_id, "wrapped_secret_id_file": path}


@pytest.mark.parametrize("spoiled", ["unwrapped", "expired", "unknown"])
def test_a_secret_id_that_cannot_be_unwrapped_may_have_been_intercepted(
    stub: VaultStub, rules: str, tmp_path: Path, spoiled: str
) -> None:
    settings = _wrapped(stub, rules, tmp_path)
    token = Path(settings["wrapped_secret_id_file"]).read_text()
    if spoiled == "unwrapped":
        stub.revoke(token)
    elif spoiled == "expired":
        stub.expire(token)
    else:
        Path(settings["wrapped_secret_id_file"]).write_text("hvs.unknown")
    with pytest.raises(Denied, match="somebody intercepted it") as caught:
        _made(**settings).read()
    assert token not in str(caught.value)
    assert _logins(stub) == 0


def test_what_was_wrapped_elsewhere_is_not_unwrapped(stub: VaultStub, rules: str, tmp_path: Path) -> None:
    settings = _wrapped(stub, rules, tmp_path)
    Path(settings["wrapped_secret_id_file"]).write_text(stub.wrap({"secret_id": stub.secret_id("backend")}))
    with pytest.raises(Denied, match="was not made by auth/approle"):
        _made(**settings).read()
    assert not [request for request in stub.requests if request.path == "sys/wrapping/unwrap"]


@pytest.mark.parametrize("path", ["sys/wrapping/lookup", "sys/wrapping/unwrap"])
def test_a_wrapping_that_is_not_answered_for_is_no_interception(
    stub: VaultStub, rules: str, tmp_path: Path, path: str
) -> None:
    settings = _wrapped(stub, rules, tmp_path)
    stub.fault("error-before", "POST", path)
    with pytest.raises(DestinationError) as caught:
        _made(**settings).read()
    assert not caught.value.permanent
    deliver(_made(**settings))


def test_the_secret_id_outlives_the_token_that_it_gave(stub: VaultStub, rules: str, tmp_path: Path) -> None:
    role_id, _ = stub.approle("backend", [rules], token_num_uses=5)
    path = _private(tmp_path / "wrapped", stub.wrapped_secret_id("backend"))
    for _ in range(6):
        _made(addr=stub.address, role_id=role_id, wrapped_secret_id_file=path).read()
    assert _logins(stub) > 1
    assert [request.path for request in stub.requests].count("sys/wrapping/unwrap") == 1


# Kubernetes and JWT


@pytest.mark.parametrize("method", ["kubernetes", "jwt"])
@pytest.mark.parametrize("mount", [{}, {"auth_mount": "auth/cluster/"}])
def test_a_jwt_is_read_from_its_file_at_each_login(
    stub: VaultStub, rules: str, tmp_path: Path, method: str, mount: dict[str, str]
) -> None:
    path = tmp_path / "jwt"
    role: Any = stub.kubernetes_role if method == "kubernetes" else stub.jwt_role
    role("backend", "first.jwt", [rules], mount="cluster" if mount else method)
    role("other", "second.jwt", [rules], mount="cluster" if mount else method)
    path.write_text("first.jwt\n")  # readable by all, as the kubelet makes it
    settings = {"addr": stub.address, "auth": method, "jwt_file": str(path), **mount}
    deliver(_made(role="backend", **settings))
    path.write_text("second.jwt")
    with pytest.raises(Denied, match="refuses the login"):
        _made(role="backend", **settings).read()
    assert _made(role="other", **settings).read().digest == KEY.digest()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
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
    with pytest.raises(DestinationError, match=sentence) as caught:
        _made(addr=stub.address, **settings).read()
    assert caught.value.permanent
    assert stub.requests == []


# Tokens that end


def test_a_login_serves_many_destinations_and_threads(stub: VaultStub, rules: str) -> None:
    role_id, secret_id = stub.approle("backend", [rules], secret_id_num_uses=1)
    settings = {"addr": stub.address, "role_id": role_id, "secret_id": secret_id}
    with ThreadPoolExecutor(16) as pool:
        held = list(pool.map(lambda _: _made(**settings).read().digest, range(64)))
    assert held == [None] * 64
    assert _logins(stub) == 1


def test_another_server_role_or_secret_id_is_another_login(stub: VaultStub, rules: str) -> None:
    role_id, secret_id = stub.approle("backend", [rules])
    other_id, other_secret = stub.approle("other", [rules])
    with VaultStub() as elsewhere:
        elsewhere.mount("secret")
        elsewhere.policy("keys", _RULES)
        _made(addr=stub.address, role_id=role_id, secret_id=secret_id).read()
        _made(addr=stub.address, role_id=role_id, secret_id=stub.secret_id("backend")).read()
        _made(addr=stub.address, role_id=other_id, secret_id=other_secret).read()
        with pytest.raises(Denied, match="refuses the login"):
            _made(addr=elsewhere.address, role_id=role_id, secret_id=secret_id).read()
        assert (_logins(stub), _logins(elsewhere)) == (3, 1)


def _operations(place: VaultDestination) -> list[Callable[[], object]]:
    version = place.read().version
    receipts: list[Any] = []
    return [
        place.preflight,
        place.read,
        lambda: receipts.append(place.write(KEY, Attempt("att_1", "key_1", version))),
        lambda: place.restore(receipts[0]),
        lambda: place.remove(deliver(place).digest),
    ]


@pytest.mark.parametrize("step", range(20))
def test_wherever_the_token_ends_another_is_asked_for(stub: VaultStub, rules: str, step: int) -> None:
    """Before each request in turn, all tokens end that a login gave."""
    stub.put("secret", _PATH, {"OTHER": "1"})
    role_id, secret_id = stub.approle("backend", [rules])
    place = _made(addr=stub.address, role_id=role_id, secret_id=secret_id)
    operations = _operations(place)
    stub.before(lambda: _end_all(stub), skip=step)
    for act in operations:
        act()
    assert stub.kv("secret", _PATH) is not None
    assert place.read().digest is None
    assert _logins(stub) == 2


def test_a_token_that_is_soon_over_is_not_used_any_more(stub: VaultStub, rules: str) -> None:
    role_id, secret_id = stub.approle("backend", [rules], token_ttl=1)
    place = _made(addr=stub.address, role_id=role_id, secret_id=secret_id)
    place.read()
    threading.Event().wait(0.95)
    before = len(stub.requests)
    place.read()
    assert [request.status for request in stub.requests[before:]] == [200, 200, 404]


def test_a_policy_that_says_no_costs_no_login(stub: VaultStub) -> None:
    stub.policy("less", {"secret/data/apps/*": ["read"]})
    role_id, secret_id = stub.approle("backend", ["less"], secret_id_num_uses=1)
    place = _made(addr=stub.address, role_id=role_id, secret_id=secret_id)
    version = place.read().version
    for _ in range(3):
        with pytest.raises(Denied, match='"create", "read", "patch"'):
            place.write(KEY, Attempt("att_1", "key_1", version))
    assert _logins(stub) == 1


def test_when_the_new_token_is_refused_too_that_is_the_answer(stub: VaultStub, rules: str) -> None:
    role_id, secret_id = stub.approle("backend", [rules])
    stub.fault("error-before", "GET", "*", times=-1, status=403, text="permission denied")
    with pytest.raises(Denied):
        _made(addr=stub.address, role_id=role_id, secret_id=secret_id).read()
    assert _logins(stub) == 2


def test_a_forked_child_goes_on_with_the_token_and_is_not_stuck_on_a_lock(stub: VaultStub, rules: str) -> None:
    role_id, secret_id = stub.approle("backend", [rules], secret_id_num_uses=1)
    place = _made(addr=stub.address, role_id=role_id, secret_id=secret_id)
    place.read()
    number = stub.fault("hold", "POST", "auth/approle/login")
    other_id, other_secret = stub.approle("other", [rules])
    other = _made(addr=stub.address, role_id=other_id, secret_id=other_secret)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other.read)
        assert stub.fault_reached(number)
        # That thread holds the lock of its login; the child has no such thread.
        child = fork(lambda: int(place.read().digest is not None or other.read().digest is not None))
        assert wait_for(child) == 0
        stub.release(number)
        assert waiting.result().digest is None
    assert _logins(stub) == 3


def test_old_logins_are_forgotten_one_by_one() -> None:
    tokens, made = Tokens(), []

    def lease(number: int) -> Lease:
        made.append(number)
        return Lease(Secret(str(number)), None)

    for number in (*range(200), 199, 0):
        assert tokens.obtain((number,), lambda number=number: lease(number)).reveal() == str(number)  # type: ignore[misc]
    assert made == [*range(200), 0]


def test_a_login_that_fails_is_tried_by_whoever_waited() -> None:
    tokens = Tokens()

    def fail() -> Lease:
        raise DestinationError("No.", permanent=False)

    with pytest.raises(DestinationError):
        tokens.obtain(("a",), fail)
    assert tokens.obtain(("a",), lambda: Lease(Secret("t"), 1000)).reveal() == "t"


def test_only_the_token_that_ended_is_dropped() -> None:
    tokens = Tokens()
    first = tokens.obtain(("a",), lambda: Lease(Secret("1"), None))
    tokens.drop(("a",), Secret("1"))
    tokens.drop(("b",), first)
    assert tokens.obtain(("a",), lambda: Lease(Secret("2"), None)) is first
    tokens.drop(("a",), first)
    assert tokens.obtain(("a",), lambda: Lease(Secret("2"), None)).reveal() == "2"


def _end_all(stub: VaultStub) -> None:
    """End every token but the first, which has all rights."""
    for token in list(stub._core.tokens._tokens):
        if token != stub.root_token:
            stub.revoke(token)
