"""A URI that leads elsewhere than when a key was delivered: what is absent there is no proof, whatever is asked.

On two servers with two namespaces each, and on two machines whose files have the same paths.
"""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from mushu.server.core import db
from mushu_dotenv import destination as dotenv
from tests.ran import Ran
from tests.server.commands.conftest import Run
from tests.vault import bao
from tests.vault.real import RealVault

#: Goes to a location: what is run from then on is run there.
Go = Callable[[], None]

pytestmark = [pytest.mark.fault, pytest.mark.unmeasured]


@pytest.fixture(scope="module")
def other_openbao(openbao: bao.Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[bao.Address]:
    with bao.running(tmp_path_factory.mktemp("bao")) as address:
        yield address


@pytest.fixture
def vaults(openbao: bao.Address, other_openbao: bao.Address, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Go]]:
    """Two namespaces on each of two servers."""
    names, servers = [f"team-{secrets.token_hex(3)}" for _ in range(2)], []

    def way_to(server: RealVault, name: str) -> Go:
        def go() -> None:
            for variable, value in (("ADDR", server.address), ("TOKEN", server.root_token), ("NAMESPACE", name)):
                monkeypatch.setenv(f"VAULT_{variable}", value)

        return go

    found = []
    for address in (openbao, other_openbao):
        servers.append(server := RealVault(address))
        for name in names:
            server.namespace(name)
            server.mount("secret", namespace=name)
            found.append(way_to(server, name))
    yield found
    for server in servers:
        server.close()


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Go]:
    """Two machines."""
    folder = tmp_path / "app"
    monkeypatch.setattr(dotenv, "_CONTAINER_MARKS", ())

    def way_to(name: str) -> Go:
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.id").write_text(f"{secrets.token_hex(16)}\n")

        def go() -> None:
            folder.unlink(missing_ok=True)
            folder.symlink_to(tmp_path / name)
            monkeypatch.setattr(dotenv, "_MACHINE_IDS", (tmp_path / f"{name}.id",))

        return go

    return [way_to("one"), way_to("two")]


@pytest.fixture(params=["another machine", "another namespace", "another server", "both"])
def there(request: pytest.FixtureRequest) -> tuple[str, Go, Go]:
    """A URI, and the ways to two locations that it leads to."""
    if request.param == "another machine":
        one, two = request.getfixturevalue("machines")
        return "env:app/.env#K", one, two
    home, namespace, server, both = request.getfixturevalue("vaults")
    away = {"another namespace": namespace, "another server": server, "both": both}
    return f"vault:secret/{secrets.token_hex(4)}#K", home, away[request.param]


def create(run: Run, uri: str) -> tuple[str, Ran]:
    ran = run("keys", "create", "--org", "acme", "--name", "backend", "--to", uri)
    assert ran.code == 0, ran.stderr
    return str(ran.json["key_id"]), ran


def check(run: Run, key_id: str) -> tuple[str, str]:
    row = run("keys", "check", key_id, "--json").json[0]
    return row["condition"], row["detail"]


def row_of(run: Run, key_id: str) -> str:
    return str(run("keys", "deliveries", key_id, "--json").json[0]["state"])


@pytest.mark.usefixtures("acme")
def test_what_is_absent_elsewhere_is_no_proof(run: Run, there: tuple[str, Go, Go]) -> None:
    uri, home, away = there
    home()
    first, _ = create(run, uri)

    away()
    condition, detail = check(run, first)
    assert condition == "unreachable"
    assert "Whether it is gone cannot be told. Run this again " in detail
    rotated = run("keys", "rotate", first)
    assert (rotated.code, "Nothing was minted." in rotated.stderr) == (1, True)
    second, created = create(run, uri)  # a place of its own, which the command says
    assert f"{first} is at this URI, too" in created.stderr
    deleted = run("keys", "delete", first, "--yes")
    assert (deleted.code, "cannot be told" in deleted.stderr) == (1, True)
    assert run("keys", "reconcile").code == 1

    home()
    assert check(run, second)[0] == "unreachable"
    assert run("keys", "reconcile").code == 0
    assert (row_of(run, first), row_of(run, second)) == ("removed", "verified")

    away()
    assert check(run, second)[0] == "ok"
    third = run("keys", "rotate", second).json["key_id"]
    assert (row_of(run, second), row_of(run, third)) == ("replaced", "verified")


@pytest.mark.usefixtures("acme", "in_core")
def test_a_key_that_arrived_does_not_fail_elsewhere(run: Run, there: tuple[str, Go, Go]) -> None:
    uri, home, away = there
    home()
    create(run, uri)
    with db.engine.begin() as connection:  # as if the process had been killed before it read the key back
        connection.execute(text("UPDATE api_keys SET state = 'pending', activated_at = NULL"))
        connection.execute(text("UPDATE deliveries SET state = 'pending', lease_until = created_at"))

    away()
    assert run("keys", "reconcile", "--json").json[0]["result"] == "unreachable"
    home()
    assert run("keys", "reconcile", "--json").json[0]["result"] == "activated"


@pytest.mark.usefixtures("acme", "in_core")
def test_a_delivery_from_before_learns_where_it_is_when_its_key_is_seen(run: Run, there: tuple[str, Go, Go]) -> None:
    uri, home, away = there
    home()
    key_id, _ = create(run, uri)
    with db.engine.begin() as connection:
        connection.execute(text("UPDATE deliveries SET location = '', directions = ''"))

    away()
    assert check(run, key_id)[0] == "unreachable"
    assert run("keys", "rotate", key_id).code == 1
    home()
    assert check(run, key_id)[0] == "ok"
    run("keys", "delete", key_id, "--yes", "--keep-in-destination")
    assert run("keys", "deliveries", key_id, "--json").json[0]["location"]
