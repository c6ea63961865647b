"""What a test can do to the stub and see in it, in this process and from another."""

import inspect
import threading

import httpx
import pytest

from tests.vault.places import Place
from tests.vault.real import RealVault
from tests.vault.remote import RemoteVault
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


def test_a_mount_can_be_put_back_to_what_it_was(stub: VaultStub, stub_place: Place) -> None:
    stub_place.write("app", {"a": "1"})
    before = stub.snapshot(stub_place.mount)
    for _ in range(2):
        stub_place.write("app", {"a": "2"}, cas=1)
        stub.restore(stub_place.mount, before)
        assert stub_place.read("app").json()["data"]["data"] == {"a": "1"}


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


def test_a_policy_that_the_real_server_refuses_is_refused(stub: VaultStub) -> None:
    with pytest.raises(ValueError, match=r"'\+\*' is forbidden"):
        stub.policy("p", {"secret/data/+*": ["read"]})
    with pytest.raises(ValueError, match="write"):
        stub.policy("p", {"secret/data/*": ["write"]})


def test_set_up_over_http_is_closed_unless_it_is_asked_for(stub: VaultStub) -> None:
    assert httpx.post(f"{stub.address}/stub/seal", json={}, trust_env=False).status_code == 404


@pytest.mark.parametrize("name", [name for name in METHODS if name in vars(RealVault)])
def test_a_real_server_is_set_up_with_the_same_methods(name: str) -> None:
    assert inspect.signature(getattr(RealVault, name)) == inspect.signature(getattr(SetUp, name))
    assert hasattr(RemoteVault, name)


def _sealed(place: Place) -> object:
    return place.ask("GET", "sys/seal-status").json()["sealed"]


def test_a_stub_that_is_gone_answers_no_connection_that_was_kept() -> None:
    with httpx.Client(trust_env=False) as client:
        with VaultStub() as stub:
            assert client.get(f"{stub.address}/v1/secret/data/app").status_code == 403
        with pytest.raises(httpx.TransportError):
            client.get(f"{stub.address}/v1/secret/data/app")
