"""Where settings come from, and which are refused."""

from collections.abc import Mapping

import pytest

from mushu_vault.settings import VaultServer, VaultSettings, server_from
from tests.plugins.mushu_vault.places import refused

_ADDRESS = "https://vault.example:8200"


def _server(environ: Mapping[str, str] | None = None, namespace: str | None = None, **own: str) -> VaultServer:
    return server_from(VaultSettings(own, environ or {}), namespace)


def _own(**own: str) -> VaultServer:
    return _server({}, None, **own)


def test_own_settings_go_before_vaults_variables_and_those_before_openbaos() -> None:
    environ = {"VAULT_ADDR": "https://vault.example", "BAO_ADDR": "https://bao.example", "BAO_NAMESPACE": "team"}
    assert _server(environ, addr="https://own.example").url == "https://own.example"
    assert _server(environ).url == "https://vault.example"
    assert _server({"BAO_ADDR": "https://bao.example", "VAULT_ADDR": ""}).url == "https://bao.example"
    assert _server(environ).namespace == "team"


def test_the_namespace_of_the_uri_goes_first_and_root_is_the_uppermost() -> None:
    environ = {"VAULT_ADDR": _ADDRESS, "VAULT_NAMESPACE": "/team/"}
    assert _server(environ).namespace == "team"
    assert _server(environ, "other").namespace == "other"
    assert _server(environ, "root").namespace == ""


def test_files_of_tls_are_taken_from_each_source() -> None:
    server = _server(
        {"VAULT_ADDR": _ADDRESS, "VAULT_CACERT": "/ca.pem", "BAO_CLIENT_CERT": "/c.pem", "VAULT_CLIENT_KEY": "/k.pem"},
        tls_server_name="vault.internal",
    )
    assert (server.cacert, server.client_cert, server.client_key) == ("/ca.pem", "/c.pem", "/k.pem")
    assert server.tls_server_name == "vault.internal"
    assert _server({"VAULT_ADDR": _ADDRESS, "VAULT_CAPATH": "/certs"}).capath == "/certs"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("https://vault.example", "https://vault.example"),
        ("https://Vault.Example:8200/", "https://vault.example:8200"),
        ("https://proxy.example/vault/", "https://proxy.example/vault"),
        ("https://[2001:db8::1]:8200", "https://[2001:db8::1]:8200"),
        ("http://127.0.0.1:8200", "http://127.0.0.1:8200"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:8200", "http://[::1]:8200"),
        ("http://localhost:8200", "http://localhost:8200"),
        (" https://vault.example \n", "https://vault.example"),
    ],
)
def test_an_address_that_can_be_trusted_with_a_key(address: str, url: str) -> None:
    assert _server({"VAULT_ADDR": address}).url == url


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("", "is not set"),
        ("vault.example:8200", "does not begin with https"),
        ("127.0.0.1:8200", "does not begin with https"),
        ("unix:///run/vault.sock", "does not begin with https"),
        ("http://vault.example:8200", "unencrypted"),
        ("http://10.0.0.1:8200", "unencrypted"),
        ("http://localhost.example", "unencrypted"),
        ("http://127.0.0.1.example", "unencrypted"),
        ("http://0.0.0.0:8200", "unencrypted"),
        ("https://user:hunter2@vault.example", "user name, a password"),
        ("https://hunter2@vault.example", "user name, a password"),
        ("https://vault.example/?token=hunter2", "a query"),
        ("https://vault.example?hunter2", "a query"),
        ("https://vault.example/#hunter2", "a fragment"),
        ("https://vault.example:8200/v1", "ends with /v1"),
        ("https://vault.example:8200/v1/", "ends with /v1"),
        ("https://vault.example/../hunter2", "odd in its path"),
        ("https://vault.example//hunter2", "odd in its path"),
        ("https://", "names no host"),
        ("https://:8200", "names no host"),
        ("https://vault.example:", "names no host"),
        ("https://vault.example:0", "names no host"),
        ("https://vault.example:99999", "is no address"),
        ("https://[::1", "is no address"),
        ("https://[::1%25eth0]", "names no host"),
        ("https://vault example", "names no host"),
        ("https://väult.example", "names no host"),
        ("https://vault.example\\@evil.example", "user name, a password"),
    ],
)
def test_an_address_that_cannot_is_refused_and_not_repeated(address: str, sentence: str) -> None:
    said = refused(lambda: _server({"VAULT_ADDR": address}), sentence, permanent=True, hidden="hunter2")
    assert "such as https://vault.example:8200" in said


@pytest.mark.parametrize("variable", ["VAULT_SKIP_VERIFY", "BAO_SKIP_VERIFY"])
@pytest.mark.parametrize("answer", ["1", "true", "T", "yes", "anything"])
def test_to_skip_verification_is_refused_not_obeyed(variable: str, answer: str) -> None:
    refused(
        lambda: _server({"VAULT_ADDR": _ADDRESS, variable: answer}), "Unset it, and set VAULT_CACERT", permanent=True
    )


@pytest.mark.parametrize("answer", ["", "0", "false", "F", "no", " "])
def test_not_to_skip_verification_is_no_reason_to_refuse(answer: str) -> None:
    assert _server({"VAULT_ADDR": _ADDRESS, "VAULT_SKIP_VERIFY": answer}).url == _ADDRESS


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        ({"skip_verify": "1"}, "VAULT_SKIP_VERIFY"),
        ({"client_cert": "/c.pem"}, "belong together"),
        ({"client_key": "/k.pem"}, "belong together"),
        # It could break a header.
        ({"namespace": "a\nX-Vault-Token: b"}, "VAULT_NAMESPACE"),
    ],
)
def test_what_could_open_a_way_in_is_refused(own: dict[str, str], sentence: str) -> None:
    settings = VaultSettings({"addr": _ADDRESS, **own}, {})
    refused(lambda: server_from(settings, None), sentence, permanent=True)


def test_the_time_for_an_answer_can_be_set_and_bounds_the_time_to_connect() -> None:
    assert (_server(addr=_ADDRESS).connect_timeout, _server(addr=_ADDRESS).read_timeout) == (5, 15)
    assert _server(addr=_ADDRESS, timeout="2.5").connect_timeout == 2.5
    assert _server(addr=_ADDRESS, timeout="60", connect_timeout="9").connect_timeout == 9


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "nan", "inf", "601", "1s"])
@pytest.mark.parametrize("name", ["timeout", "connect_timeout"])
def test_a_time_that_is_none_is_refused(name: str, seconds: str) -> None:
    refused(lambda: _own(addr=_ADDRESS, **{name: seconds}), f"MUSHU_VAULT_{name.upper()} must be a number of seconds")


@pytest.mark.fault
@pytest.mark.parametrize(
    "name",
    ["cacert", "capath", "client_cert", "client_key", "wrapped_secret_id_file", "secret_id_file", "jwt_file"],
)
@pytest.mark.parametrize("path", ["ca.pem", "./ca.pem", "~/ca.pem"])
def test_a_path_that_is_another_file_in_another_folder_is_refused(name: str, path: str) -> None:
    refused(
        lambda: _own(addr=_ADDRESS, **{name: path}),
        f"^MUSHU_VAULT_{name.upper()} must be an absolute path",
        permanent=True,
    )


@pytest.mark.fault
@pytest.mark.parametrize("name", ["cacert", "capath", "client_cert", "client_key", "secret_id_file"])
@pytest.mark.parametrize("source", ["VAULT", "BAO"])
def test_so_is_one_in_a_variable_of_vaults_own(name: str, source: str) -> None:
    refused(
        lambda: _server({"VAULT_ADDR": _ADDRESS, f"{source}_{name.upper()}": "ca.pem"}),
        f"^VAULT_{name.upper()} must be an absolute path",
    )
