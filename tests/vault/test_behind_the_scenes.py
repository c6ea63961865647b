"""What a test can do to the stub and see in it, in this process and from another."""

import inspect
import ssl
import threading

import httpx
import pytest

from tests.cli.certificates import certificates
from tests.vault.places import Place, errors
from tests.vault.real import RealVault
from tests.vault.remote import RemoteVault, another_process
from tests.vault.server import VaultStub
from tests.vault.setup import METHODS, SetUp


def test_all_that_is_kept_can_be_seen(stub: VaultStub, stub_place: Place) -> None:
    assert stub.kv(stub_place.mount, "app") is None
    stub_place.write("app", {"a": "1"})
    stub_place.write("app", {"a": "2"})
    stub_place.ask("POST", f"{stub_place.mount}/destroy/app", {"versions": [1]})
    state = stub.kv(stub_place.mount, "app") or {}
    assert (state["versions"]["1"]["data"], state["versions"]["1"]["destroyed"]) == (None, True)
    assert (state["versions"]["2"]["data"], state["current_version"]) == ({"a": "2"}, 2)


def test_a_stranger_writes_past_all_rules(stub: VaultStub) -> None:
    stub.mount("strict", cas_required=True)
    stub.mount("plain", version=1)
    stub.put("strict", "app", {"a": "1"})
    stub.put("strict", "app", {"a": "2"})
    stub.put("plain", "app", {"a": "3"})
    assert (stub.kv("strict", "app") or {})["current_version"] == 2
    assert stub.kv("plain", "app") == {"data": {"a": "3"}}


def test_a_mount_can_be_put_back_to_what_it_was(stub: VaultStub, stub_place: Place) -> None:
    stub_place.write("app", {"a": "1"})
    before = stub.snapshot(stub_place.mount)
    for _ in range(2):
        stub_place.write("app", {"a": "2"}, cas=1)
        stub.restore(stub_place.mount, before)
        assert stub_place.read("app").json()["data"]["data"] == {"a": "1"}


def test_an_expired_token_is_denied(stub: VaultStub, stub_place: Place) -> None:
    token = stub.token()
    stub.expire(token)
    answer = stub_place.ask("GET", "auth/token/lookup-self", token=token)
    assert errors(answer) == (403, ["permission denied"])


def test_vault_itself_differs_a_little() -> None:
    with VaultStub("Vault") as stub, httpx.Client(base_url=f"{stub.address}/v1/", trust_env=False) as client:
        invalid = client.get("secret/data/app")
        assert errors(invalid) == (403, ["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"])
        stub.mount("secret")
        stub.put("secret", "app", {})
        client.headers["X-Vault-Token"] = stub.root_token
        assert "vault kv get" in client.get("secret/app").json()["warnings"][0]
        assert "current_metadata_version" not in client.get("secret/metadata/app").json()["data"]


def test_a_sealed_server_answers_nothing(stub: VaultStub, stub_place: Place) -> None:
    stub.seal()
    assert errors(stub_place.read("app")) == (503, ["Vault is sealed"])
    assert (stub_place.ask("GET", "sys/health").status_code, _sealed(stub_place)) == (503, True)
    stub.unseal()
    assert (stub_place.read("app").status_code, _sealed(stub_place)) == (404, False)


def test_a_standby_sends_requests_on(stub: VaultStub, stub_place: Place) -> None:
    stub.standby("http://127.0.0.1:1")
    answer = stub_place.ask("GET", "a/b?c=d")
    assert (answer.status_code, answer.headers["Location"]) == (307, "http://127.0.0.1:1/v1/a/b?c=d")
    assert stub_place.ask("GET", "sys/health").status_code == 429
    assert stub_place.ask("GET", "sys/health?standbyok=true").status_code == 200
    stub.standby(None)
    assert stub_place.read("app").status_code == 404


def test_the_log_tells_what_was_asked_and_bodies_only_to_those_who_ask(stub: VaultStub, stub_place: Place) -> None:
    stub_place.write("app", {"a": "hidden"})
    stub_place.read("none")
    asked = [(entry.method, entry.path, entry.status) for entry in stub.requests]
    assert asked == [("POST", stub_place.data("app"), 200), ("GET", stub_place.data("none"), 404)]
    assert "hidden" not in repr(stub.requests)
    assert stub.bodies("POST", stub_place.data("app")) == ['{"data":{"a":"hidden"}}']
    assert stub.asked("GET", stub_place.data("none"))[0].headers["x-vault-token"] == stub.root_token


def test_writers_of_one_path_take_turns(stub: VaultStub, stub_place: Place) -> None:
    statuses: list[int] = []

    def write(number: int) -> None:
        address = f"{stub.address}/v1/{stub_place.data('app')}"
        headers = {"X-Vault-Token": stub.root_token}
        body = {"data": {"n": number}, "options": {"cas": 0}}
        statuses.append(httpx.post(address, json=body, headers=headers, trust_env=False).status_code)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(statuses) == [200] + [400] * 7


def test_it_speaks_tls() -> None:
    trust = ssl.create_default_context(cafile=certificates() / "own.pem")
    with VaultStub(certificate="own") as stub:
        assert stub.address.startswith("https://")
        assert httpx.get(f"{stub.address}/v1/sys/health", verify=trust, trust_env=False).status_code == 200


def test_a_stub_that_is_gone_answers_no_connection_that_was_kept() -> None:
    with httpx.Client(trust_env=False) as client:
        with VaultStub() as stub:
            assert client.get(f"{stub.address}/v1/sys/health").status_code == 200
        with pytest.raises(httpx.TransportError):
            client.get(f"{stub.address}/v1/sys/health")


def test_a_policy_that_the_real_server_refuses_is_refused(stub: VaultStub) -> None:
    with pytest.raises(ValueError, match=r"'\+\*' is forbidden"):
        stub.policy("p", {"secret/data/+*": ["read"]})
    with pytest.raises(ValueError, match="write"):
        stub.policy("p", {"secret/data/*": ["write"]})


def test_it_can_come_back_at_the_same_address() -> None:
    with VaultStub() as first:
        port = int(first.address.rpartition(":")[2])
    with VaultStub(port=port) as second:
        assert second.address == first.address


def test_a_stub_in_another_process_is_set_up_the_same_way() -> None:
    with another_process() as vault:
        vault.mount("secret")
        vault.policy("p", {"secret/data/*": {"read"}})
        vault.put("secret", "app", {"a": "1"})
        vault.fault("error-before", "GET", "secret/data/app")
        headers = {"X-Vault-Token": vault.token(["p"])}
        address = f"{vault.address}/v1/secret/data/app"
        statuses = [httpx.get(address, headers=headers, trust_env=False).status_code for _ in range(2)]
        assert statuses == [500, 200]
        assert [entry.status for entry in vault.requests] == statuses
        assert (vault.kv("secret", "app") or {})["current_version"] == 1
        role_id, secret_id = vault.approle("app", ["p"])
        assert role_id != secret_id
        with pytest.raises(RuntimeError, match="KeyError"):
            vault.kv("nowhere", "app")


def test_set_up_over_http_is_closed_unless_it_is_asked_for(stub: VaultStub) -> None:
    assert httpx.post(f"{stub.address}/stub/seal", json={}, trust_env=False).status_code == 404


@pytest.mark.parametrize("name", [name for name in METHODS if name in vars(RealVault)])
def test_a_real_server_is_set_up_with_the_same_methods(name: str) -> None:
    assert inspect.signature(getattr(RealVault, name)) == inspect.signature(getattr(SetUp, name))
    assert hasattr(RemoteVault, name)


def _sealed(place: Place) -> object:
    return place.ask("GET", "sys/seal-status").json()["sealed"]
