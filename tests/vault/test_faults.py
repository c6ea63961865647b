"""The faults that a test can plan."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.vault.places import Place, errors, place_at_stub
from tests.vault.server import VaultStub

_MOUNT = "secret"
_APP = f"{_MOUNT}/data/app"


@pytest.fixture
def place() -> Iterator[Place]:
    with place_at_stub() as place:
        place.mount = _MOUNT
        place.server.mount(_MOUNT)
        yield place


@pytest.fixture
def stub(place: Place) -> VaultStub:
    assert isinstance(place.server, VaultStub)
    return place.server


def _kept(stub: VaultStub) -> int:
    state = stub.kv(_MOUNT, "app")
    return 0 if state is None else int(state["current_version"])


@pytest.mark.parametrize(("kind", "kept"), [("cut-before", 0), ("cut-after", 1)])
def test_a_cut_connection_gives_no_answer(place: Place, stub: VaultStub, kind: Any, kept: int) -> None:
    stub.fault(kind, "POST", _APP)
    with pytest.raises(httpx.RemoteProtocolError):
        place.write("app", {"a": 1})
    assert _kept(stub) == kept
    assert place.write("app", {"a": 2}).status_code == 200


@pytest.mark.parametrize(("kind", "kept"), [("error-before", 0), ("error-after", 1)])
def test_an_error_comes_before_or_after_the_work(place: Place, stub: VaultStub, kind: Any, kept: int) -> None:
    stub.fault(kind, "POST", _APP, status=502, text="bad gateway")
    assert errors(place.write("app", {"a": 1})) == (502, ["bad gateway"])
    assert _kept(stub) == kept


def test_a_lost_write_is_answered_and_not_kept(place: Place, stub: VaultStub) -> None:
    place.write("app", {"a": 1})
    stub.fault("lost", "POST", _APP)
    assert place.write("app", {"a": 2}).json()["data"]["version"] == 2
    assert (_kept(stub), place.read("app").json()["data"]["data"]) == (1, {"a": 1})


def test_a_stale_read_shows_what_was_there_when_it_was_planned(place: Place, stub: VaultStub) -> None:
    place.write("app", {"a": 1})
    stub.fault("stale", "GET", times=2)
    place.write("app", {"a": 2})
    old = place.read("app").json()["data"]
    assert (old["data"], old["metadata"]["version"]) == ({"a": 1}, 1)
    assert place.ask("GET", place.metadata("app")).json()["data"]["current_version"] == 1
    assert place.read("app").json()["data"]["data"] == {"a": 2}


def test_a_fault_waits_for_its_turn_and_ends(place: Place, stub: VaultStub) -> None:
    number = stub.fault("error-before", "GET", f"{_MOUNT}/*", times=2, skip=1)
    place.write("app", {})
    assert [place.read("app").status_code for _ in range(4)] == [200, 500, 500, 200]
    assert stub.fault_hits(number) == 2


def test_too_many_requests_are_told_when_to_come_back(place: Place, stub: VaultStub) -> None:
    stub.fault("rate-limit", seconds=3)
    answer = place.read("app")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")


def test_a_fault_that_there_is_not_is_refused(stub: VaultStub) -> None:
    wrong: Any = "explode"
    with pytest.raises(ValueError, match="explode"):
        stub.fault(wrong)
