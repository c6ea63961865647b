"""The plugin keeps every promise of the contract; in version 1, all but those that need a compare-and-set."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from mushu.destination import Attempt, Conflict, Secret
from mushu.testing import DestinationContract, NewPlace, Place
from mushu.testing.place import attempt_at, deliver, held_digest, new_secret
from mushu.testing.processes import fork, wait_for
from tests.long import LONG
from tests.plugins.mushu_vault.places import VaultPlace
from tests.vault.real import RealVault

pytestmark = pytest.mark.unmeasured


class VaultContract(DestinationContract):
    packages: ClassVar[tuple[str, ...]] = ("mushu_vault", "hvac")
    each_step: ClassVar[bool] = LONG

    @pytest.fixture(autouse=True)
    def _reached_from_anywhere(self, vault: RealVault, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VAULT_ADDR", vault.address)
        monkeypatch.setenv("VAULT_TOKEN", vault.root_token)


class TestVersion2(VaultContract):
    @pytest.fixture
    def new_place(self, vault: RealVault, kv2: str) -> NewPlace:
        numbers = itertools.count()
        return lambda: VaultPlace(vault, kv2, f"apps/{next(numbers)}/backend")


class TestVersion1(VaultContract):
    # The library below is the same as in version 2, and killed there.
    packages: ClassVar[tuple[str, ...]] = ("mushu_vault",)

    @pytest.fixture
    def new_place(self, vault: RealVault, kv1: str) -> NewPlace:
        numbers = itertools.count()
        return lambda: VaultPlace(vault, kv1, f"apps/{next(numbers)}/backend")

    # Nothing in this engine compares and sets. What is left of these promises, and is documented: whoever is told that
    # it lost has lost, and what is held in the end is whole, and one of the values.

    def test_of_many_threads_one_wins(self, new_place: NewPlace) -> None:
        place, secrets = new_place(), [new_secret() for _ in range(4)]
        attempt = attempt_at(place.destination().read())
        with ThreadPoolExecutor(len(secrets)) as pool:
            won = list(pool.map(lambda secret: _has_written(place, secret, attempt), secrets))
        winners = {secret.digest() for secret, has_won in zip(secrets, won, strict=True) if has_won}
        assert held_digest(place) in winners

    def test_of_many_processes_one_wins(self, new_place: NewPlace) -> None:
        place, secrets = new_place(), [new_secret() for _ in range(4)]
        attempt = attempt_at(place.destination().read())
        children = [
            fork(lambda secret=secret: int(_has_written(place, secret, attempt)))  # type: ignore[misc]
            for secret in secrets
        ]
        won = [wait_for(child) for child in children]
        winners = {secret.digest() for secret, has_won in zip(secrets, won, strict=True) if has_won}
        assert held_digest(place) in winners

    def test_a_remover_and_a_writer_do_not_undo_each_other(self, new_place: NewPlace) -> None:
        place, former, secret = new_place(), new_secret(), new_secret()
        deliver(place, former)
        attempt = attempt_at(place.destination().read())
        with ThreadPoolExecutor(2) as pool:
            written = pool.submit(_has_written, place, secret, attempt)
            removed = pool.submit(place.destination().remove, former.digest())
            assert written.result() or removed.result()
        assert held_digest(place) in (None, secret.digest())


def _has_written(place: Place, secret: Secret, attempt: Attempt) -> bool:
    try:
        place.destination().write(secret, attempt)
    except Conflict:
        return False
    return True
