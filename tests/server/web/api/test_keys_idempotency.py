"""`Idempotency-Key` where keys are minted: asked again, no second one is."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from werkzeug.test import TestResponse

from mushu_dotenv import DotenvDestination
from tests.server.web.api.rotating import LIVE, TEST, deliver, left_behind, name, prove, value
from tests.server.web.api.rotating import ask as ask_with
from tests.server.web.api.test_keys import keys_of
from tests.server.web.asking import answer, refusal
from tests.server.web.conftest import House
from tests.server.web.endpoints import Stage

pytestmark = pytest.mark.database

WITH_PREFIX = pytest.mark.parametrize("environment", [LIVE, TEST])


class Caller:
    """Asks as the owner, under the same Idempotency-Key unless a test says otherwise."""

    def __init__(self, house: House, stage: Stage) -> None:
        self.house = house
        self.stage = stage
        self.headers = stage.headers

    def post(self, path: str, body: dict[str, Any], once: str | None = "one") -> TestResponse:
        marked = self.headers | ({"Idempotency-Key": once} if once is not None else {})
        return self.house.client.post(path, json=body, headers=marked)

    def create(self, once: str | None = "one", /, **body: Any) -> TestResponse:
        return self.post(keys_of(self.stage), {"name": "k"} | body, once)

    def rotate(self, key_id: str, once: str | None = "one", /, **body: Any) -> TestResponse:
        return self.post(f"{keys_of(self.stage)}/{key_id}/rotate", body, once)

    def listed(self, environment: Any = LIVE) -> list[dict[str, Any]]:
        path = f"{keys_of(self.stage, environment)}?include_deleted=true"
        found: list[dict[str, Any]] = answer(self.house.client.get(path, headers=self.headers))["api_keys"]
        return found


@pytest.fixture
def caller(house: House, stage: Stage) -> Caller:
    return Caller(house, stage)


class TestShown:
    def test_the_key_is_not_shown_again_and_none_is_minted(self, caller: Caller) -> None:
        refusal(caller.create(scopes=["everything"]), 422, "invalid_input")  # this uses nothing up
        first = answer(caller.create())
        before = left_behind()
        response = caller.create()
        document = refusal(response, 409, "already_created")
        assert document["key_id"] == first["key_id"]
        assert document["detail"] == (
            f"{first['key_id']} was created by this request before. The answer then held the key, which is shown once. "
            f"If that answer was lost, delete {first['key_id']} and create another with a new Idempotency-Key."
        )
        assert first["key"] not in response.get_data(as_text=True)
        refusal(caller.create(scopes=["read"]), 422, "idempotency_mismatch")
        assert left_behind() == before

    def test_what_the_refusal_says_to_do_works(self, caller: Caller) -> None:
        key_id = answer(caller.create())["key_id"]
        answer(caller.house.client.delete(f"{keys_of(caller.stage)}/{key_id}", headers=caller.headers))
        assert len({key_id, *(answer(caller.create(once))["key_id"] for once in ("two", None, None))}) == 4
        document = refusal(caller.create(), 409, "already_created")
        assert (document["key_id"], "is over since" in document["detail"]) == (key_id, True)


class TestTenants:
    @WITH_PREFIX
    def test_the_key_of_a_tenant_is_minted_once(self, house: House, environment: Any) -> None:
        stage = Stage(house.world, environment)
        caller, prefix = Caller(house, stage), "/sandbox" if environment is TEST else ""
        path = f"{prefix}/tenants/{stage.tenant}/api-keys"
        first = answer(caller.post(path, {"name": "k"}))
        assert refusal(caller.post(path, {"name": "k"}), 409, "already_created")["key_id"] == first["key_id"]
        assert [key["key_id"] for key in caller.listed(environment)] == [first["key_id"]]


def test_a_key_that_waits_for_its_client_is_not_shown_again(caller: Caller) -> None:
    first = answer(caller.create(delivery="client"))
    assert refusal(caller.create(delivery="client"), 409, "already_created")["key_id"] == first["key_id"]
    answer(prove(caller.house, caller.stage, first))
    assert refusal(caller.create(delivery="client"), 409, "already_created")["key_id"] == first["key_id"]


class TestDelivered:
    def test_the_same_is_answered_in_the_order_of_asking_and_nothing_is_done(
        self, house: House, stage: Stage, caller: Caller, tmp_path: Path
    ) -> None:
        names, files = ["c", "a", "b"], [tmp_path / place for place in "cab"]
        uris = [name(house, stage, place, f"env:{tmp_path}/{place}#MUSHU_API_KEY") for place in names]
        first = caller.create(deliver_to=names)
        before, held = left_behind(), [file.read_bytes() for file in files]
        again = caller.create(deliver_to=names)
        assert answer(first)["delivered_to"] == uris
        assert (again.status_code, again.get_data()) == (first.status_code, first.get_data())
        assert (left_behind(), [file.read_bytes() for file in files]) == (before, held)

    def test_many_at_the_same_moment_are_one_key(self, caller: Caller, file: Path) -> None:
        name(caller.house, caller.stage, "backend", f"env:{file}#MUSHU_API_KEY")
        told = at_once(8, lambda: caller.create(deliver_to=["backend"]))
        assert {code for code, _ in told} <= {"answered", "in_progress", "destination_held"}
        assert any(code == "answered" for code, _ in told)
        final = answer(caller.create(deliver_to=["backend"]))
        assert {key_id for code, key_id in told if code == "answered"} == {final["key_id"]}
        assert [(key["key_id"], key["state"]) for key in caller.listed()] == [(final["key_id"], "active")]
        assert ask_with(caller.house, caller.stage, value(file)).status_code == 200


class TestRotation:
    @pytest.mark.parametrize(
        ("body", "status", "code"), [({}, 409, "wrong_state"), ({"now": True}, 404, "key_not_found")]
    )
    def test_the_successor_that_was_made_is_answered(
        self, caller: Caller, file: Path, body: dict[str, bool], status: int, code: str
    ) -> None:
        old_id = deliver(caller.stage, file)
        first = caller.rotate(old_id, **body)
        before = left_behind()
        again = caller.rotate(old_id, **body)
        assert answer(first)["replaces"] == old_id
        assert (again.status_code, again.get_data()) == (first.status_code, first.get_data())
        assert left_behind() == before
        refusal(caller.rotate(old_id, "two"), status, code)

    def test_a_successor_that_was_shown_is_not_shown_again(self, caller: Caller) -> None:
        old, other = (answer(caller.create(None)) for _ in range(2))
        new = answer(caller.rotate(old["key_id"]))
        document = refusal(caller.rotate(old["key_id"]), 409, "already_created")
        assert document["key_id"] == new["key_id"]
        assert f"rotate {new['key_id']} in turn, with a new Idempotency-Key" in document["detail"]
        refusal(caller.rotate(other["key_id"]), 422, "idempotency_mismatch")
        refusal(caller.rotate(old["key_id"], settle="2h"), 422, "idempotency_mismatch")
        newest = answer(caller.rotate(new["key_id"], "two"))
        assert ask_with(caller.house, caller.stage, newest["key"]).status_code == 200
        assert len(caller.listed()) == 4

    def test_many_at_the_same_moment_are_one_rotation(self, caller: Caller) -> None:
        old_id = answer(caller.create(None))["key_id"]
        assert_one(caller, at_once(8, lambda: caller.rotate(old_id)), 2)


def test_many_at_the_same_moment_are_one_key(caller: Caller) -> None:
    assert_one(caller, at_once(8, caller.create), 1)


def test_a_request_that_is_being_worked_on_says_when_to_ask_again(
    caller: Caller, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name(caller.house, caller.stage, "backend", f"env:{file}")
    write, told = DotenvDestination.write, list[TestResponse]()

    def written(self: DotenvDestination, *args: Any) -> Any:
        if not told:
            told.append(caller.create(deliver_to=["backend"]))
        return write(self, *args)

    monkeypatch.setattr(DotenvDestination, "write", written)
    first = answer(caller.create(deliver_to=["backend"]))
    document = refusal(told[0], 409, "in_progress")
    assert (document["key_id"], told[0].headers["Retry-After"]) == (first["key_id"], "60")


@pytest.mark.parametrize("rule", ["/orgs/{org_id}/api-keys", "/orgs/{org_id}/api-keys/{key_id}/rotate",
                                  "/tenants/{tenant_id}/api-keys"])  # fmt: skip
@pytest.mark.parametrize("prefix", ["", "/sandbox"])
def test_the_reference_names_the_header(house: House, rule: str, prefix: str) -> None:
    operation = answer(house.client.get("/openapi.json"))["paths"][prefix + rule]["post"]
    (header,) = (one for one in operation["parameters"] if one["in"] == "header")
    assert (header["name"], header["required"]) == ("Idempotency-Key", False)
    assert "409" in operation["responses"]


def assert_one(caller: Caller, told: list[tuple[str, str]], keys: int) -> None:
    """One of eight minted, all others were told which key it is, and there are so many keys."""
    assert sorted(code for code, _ in told) == ["already_created"] * 7 + ["answered"]
    assert len({key_id for _, key_id in told}) == 1
    assert len(caller.listed()) == keys


def at_once(number: int, ask: Any) -> list[tuple[str, str]]:
    """Ask so many times at the same moment; return the codes of the answers, and the keys that they name."""
    start = Barrier(number)

    def run(_: int) -> TestResponse:
        start.wait()
        response: TestResponse = ask()
        return response

    with ThreadPoolExecutor(number) as pool:
        responses = list(pool.map(run, range(number)))
    documents = [response.get_json() for response in responses]
    return [(document.get("code", "answered"), document.get("key_id", "")) for document in documents]
