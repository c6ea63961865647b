"""Somebody is faster: neighbours are waited for, another value is a conflict, and nobody loses anything."""

import itertools
import threading
from typing import Any

import pytest

from mushu.destination import Conflict
from tests.plugins.mushu_vault.places import (
    FIELD,
    FOREIGN,
    KEY,
    NEXT,
    begun_write,
    data_path,
    deliver,
    destination,
    fields_of,
    hasty,
    refused,
)
from tests.vault.server import VaultStub

_PATH = "apps/backend"


@pytest.mark.parametrize("moves", [1, 19, -1])
def test_a_neighbour_that_moves_in_between_is_waited_for_twenty_times_and_never_lost(
    stub: VaultStub, moves: int
) -> None:
    stub.put("secret", _PATH, {"OTHER": "0"})
    numbers = itertools.count(1)
    write = begun_write(stub, "secret")
    move = lambda: stub.put("secret", _PATH, {"OTHER": str(next(numbers))})  # noqa: E731
    stub.before(move, "PATCH", data_path("secret"), times=moves)
    if moves < 0:
        refused(write, "20 times", permanent=False)
        assert fields_of(stub, "secret") == {"OTHER": "20"}
    else:
        write()
        assert fields_of(stub, "secret") == {"OTHER": str(moves), FIELD: KEY.reveal()}


@pytest.mark.parametrize("there", [{}, {"OTHER": "0"}, {FIELD: NEXT.reveal()}])
def test_a_value_that_comes_in_between_is_a_conflict(stub: VaultStub, there: dict[str, str]) -> None:
    if there:
        stub.put("secret", _PATH, there)
    write = begun_write(stub, "secret")
    stub.before(lambda: stub.put("secret", _PATH, {FIELD: FOREIGN}), "P*", data_path("secret"))
    with pytest.raises(Conflict):
        write()
    assert fields_of(stub, "secret") == {FIELD: FOREIGN}


def test_the_same_key_that_comes_in_between_is_found(stub: VaultStub) -> None:
    write = begun_write(stub, "secret")
    stub.before(lambda: stub.put("secret", _PATH, {FIELD: KEY.reveal()}), "POST", data_path("secret"))
    receipt: Any = write()
    assert (receipt.version, receipt.undo) == ("1", None)


def test_a_secret_that_is_deleted_in_between_is_written_anew(stub: VaultStub) -> None:
    stub.put("secret", _PATH, {"OTHER": "1"})
    write = begun_write(stub, "secret")
    stub.before(lambda: stub.do("DELETE", data_path("secret")), "PATCH", data_path("secret"))
    write()
    assert fields_of(stub, "secret") == {FIELD: KEY.reveal()}


@pytest.mark.parametrize("act", ["restore", "remove"])
def test_a_value_that_comes_while_the_key_is_taken_back_stays(stub: VaultStub, act: str) -> None:
    place = hasty(stub)
    receipt = deliver(place)
    stub.before(lambda: stub.put("secret", _PATH, {FIELD: FOREIGN}), "PATCH", data_path("secret"))
    assert not (place.restore(receipt) if act == "restore" else place.remove(KEY.digest()))
    assert fields_of(stub, "secret") == {FIELD: FOREIGN}


def test_many_writers_of_different_fields_lose_nothing(stub: VaultStub) -> None:
    stub.put("secret", _PATH, {"OTHER": "1"})
    writers, rounds = 6, 5
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for turn in range(rounds):
                deliver(destination(stub, f"secret/{_PATH}", f"F{number}"), KEY if turn % 2 else NEXT)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert fields_of(stub, "secret") == {"OTHER": "1"} | {f"F{number}": NEXT.reveal() for number in range(writers)}
