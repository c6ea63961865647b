"""The faults that a test can plan."""

import threading
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


def test_a_412_is_an_error_like_the_others(place: Place, stub: VaultStub) -> None:
    stub.fault("error-before", status=412, text="required index state not present")
    assert errors(place.read("app")) == (412, ["required index state not present"])


def test_a_lost_write_is_answered_and_not_kept(place: Place, stub: VaultStub) -> None:
    place.write("app", {"a": 1})
    stub.fault("lost", "POST", _APP)
    assert place.write("app", {"a": 2}).json()["data"]["version"] == 2
    assert (_kept(stub), place.read("app").json()["data"]["data"]) == (1, {"a": 1})


def test_a_lost_write_still_obeys_check_and_set(place: Place, stub: VaultStub) -> None:
    stub.fault("lost", "POST", _APP)
    assert place.write("app", {"a": 2}, cas=5).status_code == 400


def test_a_stale_read_shows_what_was_there_when_it_was_planned(place: Place, stub: VaultStub) -> None:
    place.write("app", {"a": 1})
    stub.fault("stale", "GET", times=2)
    place.write("app", {"a": 2})
    old = place.read("app").json()["data"]
    assert (old["data"], old["metadata"]["version"]) == ({"a": 1}, 1)
    assert place.ask("GET", place.metadata("app")).json()["data"]["current_version"] == 1
    assert place.read("app").json()["data"]["data"] == {"a": 2}


def test_errors_can_come_with_200(place: Place, stub: VaultStub) -> None:
    stub.fault("errors-in-200", "POST", text="not really")
    assert errors(place.write("app", {})) == (200, ["not really"])
    assert _kept(stub) == 0


def test_a_redirect_leads_elsewhere(place: Place, stub: VaultStub) -> None:
    stub.fault("redirect", location="http://127.0.0.1:1/elsewhere")
    answer = place.read("app")
    assert (answer.status_code, answer.headers["Location"]) == (307, "http://127.0.0.1:1/elsewhere")


def test_too_many_requests_are_told_when_to_come_back(place: Place, stub: VaultStub) -> None:
    stub.fault("rate-limit", seconds=3)
    answer = place.read("app")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")


def test_an_answer_can_be_broken(place: Place, stub: VaultStub) -> None:
    stub.fault("invalid-json")
    answer = place.write("app", {})
    assert (answer.status_code, _kept(stub)) == (200, 1)
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        answer.json()


def test_an_answer_can_be_huge(place: Place, stub: VaultStub) -> None:
    stub.fault("huge", size=3_000_000)
    assert len(place.read("app").content) > 3_000_000


def test_an_answer_can_be_a_page_for_people(place: Place, stub: VaultStub) -> None:
    stub.fault("html")
    answer = place.read("app")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html")


def test_an_answer_can_come_in_drops_for_ever(place: Place, stub: VaultStub) -> None:
    stub.fault("drip", seconds=0.01)
    with httpx.stream("GET", f"{stub.address}/v1/{_APP}", trust_env=False) as answer:
        drops = answer.iter_raw()
        assert [next(drops) for _ in range(5)] == [b" "] * 5


def test_an_answer_can_be_late(place: Place, stub: VaultStub) -> None:
    stub.fault("delay", seconds=5)
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{stub.address}/v1/{_APP}", timeout=0.1, trust_env=False)


def test_a_request_can_be_held_until_it_is_let_go(place: Place, stub: VaultStub) -> None:
    number = stub.fault("hold", "POST", _APP)
    writer = threading.Thread(target=place.write, args=("app", {"a": 1}))
    writer.start()
    assert stub.fault_reached(number)
    assert _kept(stub) == 0
    stub.release(number)
    writer.join()
    assert _kept(stub) == 1


def test_a_stranger_can_be_faster(place: Place, stub: VaultStub) -> None:
    stub.before(lambda: stub.put(_MOUNT, "app", {"from": "stranger"}), "POST", _APP)
    assert place.write("app", {"from": "us"}, cas=0).status_code == 400
    assert place.read("app").json()["data"]["data"] == {"from": "stranger"}


def test_a_fault_waits_for_its_turn_and_ends(place: Place, stub: VaultStub) -> None:
    number = stub.fault("error-before", "GET", f"{_MOUNT}/*", times=2, skip=1)
    place.write("app", {})
    assert [place.read("app").status_code for _ in range(4)] == [200, 500, 500, 200]
    assert stub.fault_hits(number) == 2


def test_faults_can_be_cleared(place: Place, stub: VaultStub) -> None:
    stub.fault("error-before", times=100)
    assert place.read("app").status_code == 500
    stub.clear_faults()
    assert errors(place.read("app")) == (404, [])


def test_a_fault_that_there_is_not_is_refused(stub: VaultStub) -> None:
    wrong: Any = "explode"
    with pytest.raises(ValueError, match="explode"):
        stub.fault(wrong)
