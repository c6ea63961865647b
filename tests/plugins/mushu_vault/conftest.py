"""A server to test against: `vault` is a real one; `stub` is a proxy before a real one, with faults."""

import os
from collections.abc import Iterator

import pytest

from mushu_vault import client
from tests.plugins.mushu_vault.places import RULES, prepared
from tests.vault import bao
from tests.vault.real import RealVault
from tests.vault.server import VaultStub


@pytest.fixture(autouse=True)
def _no_vault_of_ours_and_no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mushu_vault.client._PAUSES", (0.0,) * len(client._PAUSES))
    for name in list(os.environ):
        if name.startswith(("VAULT_", "BAO_", "MUSHU_VAULT_")):
            monkeypatch.delenv(name)


@pytest.fixture
def stub(openbao: bao.Address) -> Iterator[VaultStub]:
    with VaultStub(openbao) as stub:
        yield stub


@pytest.fixture
def rules(stub: VaultStub) -> str:
    """Return the name of a policy of the stub that is enough for a delivery."""
    stub.policy("keys", RULES)
    return "keys"


@pytest.fixture
def vault(request: pytest.FixtureRequest) -> Iterator[RealVault]:
    real = RealVault(bao.NAMED or request.getfixturevalue("openbao"))
    yield real
    real.close()


@pytest.fixture
def kv2(vault: RealVault) -> str:
    """Return the name of an empty mount of version 2."""
    return prepared(vault, 2, "never")


@pytest.fixture
def kv1(vault: RealVault) -> str:
    """Return the name of an empty mount of version 1."""
    return prepared(vault, 1, "never")
