"""What goes over the wire: to the server that was verified, past every proxy, and into no log of keys."""

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import certifi
import pytest
import requests
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from urllib3.exceptions import NewConnectionError

from mushu.destination import Surroundings
from mushu_vault import VaultDestination
from mushu_vault.connection import ServerAdapter
from tests.cli.certificates import certificates
from tests.plugins.mushu_vault.places import KEY, at, backend, deliver, destination, refused
from tests.vault.bao import Address
from tests.vault.server import VaultStub


@pytest.fixture
def encrypted(openbao: Address, request: pytest.FixtureRequest) -> Iterator[VaultStub]:
    with VaultStub(openbao, getattr(request, "param", "own")) as stub:
        yield stub


def _pem(name: str) -> str:
    return str(certificates() / f"{name}.pem")


def _at(stub: VaultStub, **settings: str) -> VaultDestination:
    return destination(stub, "secret/apps/backend", **settings)


# Whom we believe


def test_a_server_is_believed_by_the_authority_that_is_named(encrypted: VaultStub) -> None:
    place = _at(encrypted, cacert=_pem("own"))
    place.preflight()
    deliver(place)
    assert place.read().digest == KEY.digest()


def test_nothing_is_said_to_a_server_that_nobody_vouches_for(
    encrypted: VaultStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where other libraries were told to trust it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", _pem("own"))
    monkeypatch.setenv("CURL_CA_BUNDLE", _pem("own"))
    place = _at(encrypted)
    for act in (place.preflight, place.read, lambda: place.write(KEY, at("0"))):
        refused(act, r"does not verify\. Set VAULT_CACERT", permanent=True)
    assert encrypted.requests == []


@pytest.mark.parametrize("encrypted", ["expired"], indirect=True)
def test_a_certificate_that_has_expired_is_not_believed(encrypted: VaultStub) -> None:
    refused(_at(encrypted, cacert=_pem("expired")).read, "does not verify")
    assert encrypted.requests == []


@pytest.mark.parametrize("encrypted", ["other-host"], indirect=True)
def test_a_certificate_for_another_name_is_believed_under_that_name_only(encrypted: VaultStub) -> None:
    refused(_at(encrypted, cacert=_pem("other-host")).read, "the name that it was issued for")
    assert encrypted.requests == []
    deliver(_at(encrypted, cacert=_pem("other-host"), tls_server_name="elsewhere.example"))


def test_a_folder_of_authorities_can_be_named(encrypted: VaultStub, tmp_path: Path) -> None:
    """An empty one vouches for nobody; the authorities of the machine are not added to it."""
    refused(_at(encrypted, capath=str(tmp_path)).read, "does not verify")


def test_where_the_machine_has_no_authorities_those_of_certifi_are_taken(
    encrypted: VaultStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: SimpleNamespace(cafile=None, capath=None))
    monkeypatch.setattr(certifi, "where", lambda: _pem("own"))
    deliver(_at(encrypted))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_authority_that_cannot_be_read_is_told_before_anything_is_asked(
    encrypted: VaultStub, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    refused(_at(encrypted, cacert=str(path)).read, r"VAULT_CACERT .* cannot be read as certificates", permanent=True)


def test_a_certificate_of_our_own_is_shown_to_a_server_that_asks(encrypted: VaultStub) -> None:
    own = {"client_cert": _pem("own"), "client_key": _pem("key")}
    deliver(_at(encrypted, cacert=_pem("own"), **own))


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(encrypted: VaultStub, tmp_path: Path) -> None:
    key = load_pem_private_key((certificates() / "key.pem").read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2")))
    place = _at(encrypted, cacert=_pem("own"), client_cert=_pem("own"), client_key=str(locked))
    refused(place.read, "the key must have no password", permanent=True)


def test_a_server_that_speaks_no_tls_is_not_spoken_to(stub: VaultStub) -> None:
    refused(_at(stub, addr=stub.address.replace("http:", "https:")).read, "does not speak TLS", permanent=True)
    assert stub.requests == []


def test_a_location_is_the_cluster_and_the_namespace_unless_the_uri_names_that(openbao: Address) -> None:
    url = openbao.url.rstrip("/")
    addresses = (url, url.replace("127.0.0.1", "localhost"))
    found = [backend(addr=address, namespace="team-a").location() for address in addresses]
    assert found[0].identity == found[1].identity, "one cluster, two addresses"
    assert found[0].identity.startswith("cluster ")
    assert found[0].identity.endswith(", namespace team-a")
    assert found[0].directions == f"with VAULT_ADDR={url} VAULT_NAMESPACE=team-a"
    assert backend(addr=url).location().directions.endswith(" VAULT_NAMESPACE=root")
    named = VaultDestination.parse("vault:s/a?namespace=x#K", Surroundings(Path("/"), {"addr": url}))
    assert named is not None
    assert "namespace" not in named.location().identity


def test_where_the_cluster_is_not_told_the_address_counts_but_a_sealed_server_tells_nothing(stub: VaultStub) -> None:
    stub.fault("error-before", "GET", "sys/health", status=404)
    assert backend(addr=stub.address).location().identity == f"{stub.address}, the uppermost namespace"
    stub.fault("error-before", "GET", "sys/health", times=-1, status=503)
    refused(backend(addr=stub.address).location, "unseal it", permanent=False)
    stub.clear_faults()
    stub.fault("body-before", "GET", "sys/health", times=-1, body=b"<html>")
    refused(backend(addr=stub.address).location, "not Vault's", permanent=False)


@pytest.mark.fault
def test_a_server_that_speaks_tls_is_not_asked_without() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_answer_in_plain, args=(listening,))
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        refused(backend(addr=address, token="t").location, "Begin VAULT_ADDR with https://", permanent=True)
        thread.join()


def _answer_in_plain(listening: socket.socket) -> None:
    """Answer one request as a server of Go does that expects TLS."""
    connected, _ = listening.accept()
    with connected:
        connected.recv(65_536)
        connected.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")


def test_a_server_that_hangs_up_in_the_middle_of_tls_may_come_back(stub: VaultStub) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_hang_up, args=(listening,))
        thread.start()
        port = listening.getsockname()[1]
        refused(_at(stub, addr=f"https://127.0.0.1:{port}").read, "broke the connection off", permanent=False)
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def _hang_up(listening: socket.socket) -> None:
    with suppress(OSError):  # it is shut when nobody comes any more
        while True:
            connected, _ = listening.accept()
            connected.recv(65536)  # all of it, or the end would be a reset
            connected.close()


# What is not obeyed


def test_no_log_of_tls_keys_is_written(encrypted: VaultStub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    deliver(_at(encrypted, cacert=_pem("own")))
    assert not log.exists()


def test_no_proxy_and_no_netrc_gets_in_between(
    stub: VaultStub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy", "VAULT_HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    netrc = tmp_path / ".netrc"
    netrc.touch(0o600)
    netrc.write_text("machine 127.0.0.1 login somebody password hunter2\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    deliver(_at(stub))
    asked = stub.asked("POST", "secret/data/apps/backend")
    assert asked
    assert all("authorization" not in request.headers for request in asked)


def test_while_somebody_has_requests_printed_none_is_made(stub: VaultStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    refused(_at(stub).read, "debuglevel is set", permanent=True)
    assert stub.requests == []


# What goes wrong


def test_a_server_that_is_not_there_may_come_back(stub: VaultStub) -> None:
    place = _at(stub, addr="http://127.0.0.1:1")
    for act in (place.preflight, place.read, lambda: place.write(KEY, at("0"))):
        refused(act, "cannot be reached", permanent=False)


@pytest.mark.parametrize("mount", ["secret", "plain"])
def test_a_write_that_was_never_sent_is_not_looked_for(
    stub: VaultStub, monkeypatch: pytest.MonkeyPatch, mount: str
) -> None:
    place = destination(stub, f"{mount}/apps/backend")
    attempt, real = at(place.read().version), ServerAdapter.send

    def send(adapter: ServerAdapter, request: requests.PreparedRequest, **named: Any) -> requests.Response:
        if request.method == "POST":
            raise requests.ConnectionError(NewConnectionError(cast("Any", None), "refused"))
        return real(adapter, request, **named)

    before = len(stub.requests)
    with monkeypatch.context() as patched:
        patched.setattr(ServerAdapter, "send", send)
        refused(lambda: place.write(KEY, attempt), "cannot be reached", permanent=False)
    assert [request.method for request in stub.requests[before:]] == ["GET", "GET"], "the mount, and the secret"
    assert place.write(KEY, attempt).undo is not None


def test_a_fault_that_nobody_thought_of_is_no_refusal_and_shows_nothing(
    stub: VaultStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(_adapter: ServerAdapter, request: requests.PreparedRequest, **_named: object) -> requests.Response:
        raise LookupError(request.headers)

    monkeypatch.setattr(ServerAdapter, "send", send)
    said = refused(_at(stub).read, r"could not be asked \(LookupError\)", permanent=False)
    assert stub.root_token not in said
