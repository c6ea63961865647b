"""A server to test against: a real OpenBao, or the stub where no package has that for this machine.

`vault` is either; `stub` is always the stub, for what a real server cannot be made to do.
"""

import os
import secrets
from collections.abc import Iterator

import pytest

from tests.plugins.mushu_vault.places import RULES, Server
from tests.vault import bao
from tests.vault.real import RealVault
from tests.vault.server import VaultStub


@pytest.fixture(autouse=True)
def _no_vault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("VAULT_", "BAO_", "MUSHU_VAULT_")):
            monkeypatch.delenv(name)


@pytest.fixture
def stub() -> Iterator[VaultStub]:
    with VaultStub() as stub:
        stub.mount("secret")
        stub.mount("plain", version=1)
        yield stub


@pytest.fixture
def rules(stub: VaultStub) -> str:
    """Return the name of a policy of the stub that is enough for a delivery."""
    stub.policy("keys", RULES)
    return "keys"


if bao.is_there():

    @pytest.fixture
    def vault(openbao: bao.Address) -> Iterator[Server]:
        real = RealVault(openbao)
        yield real
        real.close()

else:

    @pytest.fixture
    def vault(stub: VaultStub) -> Server:
        return stub


@pytest.fixture
def kv2(vault: Server) -> str:
    """Return the name of an empty mount of version 2."""
    name = f"mushu-{secrets.token_hex(4)}"
    vault.mount(name)
    return name


@pytest.fixture
def kv1(vault: Server) -> str:
    """Return the name of an empty mount of version 1."""
    name = f"mushu-{secrets.token_hex(4)}"
    vault.mount(name, version=1)
    return name
