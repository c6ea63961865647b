"""Admission with one slot: whatever becomes of a request, the next one finds the slot free, and reading needs none."""

import io
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask, request
from werkzeug.test import EnvironBuilder, TestResponse

from mushu.server.config import MOST_LEAVING, Settings
from mushu.server.errors import Busy
from mushu.server.operation.requests import EXCHANGE, Begun, Exchange
from mushu.server.web.body_slots import FAIR, Slots, busy
from mushu.server.web.body_timeouts import Pace, PacedBody, Readers
from mushu.server.web.guard import public
from mushu.server.web.thread_slots import thread_slot
from tests.server.conftest import World, api_key
from tests.server.web.asking import SeparateClient, refusal
from tests.server.web.conftest import House
from tests.server.web.test_body_timeouts import Silent

LONG = 30
LARGE = 2 * 1024**2
FORM_TYPE = "application/x-www-form-urlencoded"
FORM = b"client_id=a&client_name=b"
pytestmark = pytest.mark.database

COUNT = 4


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, bodies=1, stall_seconds=1, slowest_bytes_a_second=1_048_576)


class Stream(io.BytesIO):
    """What a client sent before it went away or fell silent; counts what is asked for."""

    def __init__(self, content: bytes, error: Exception | None = None) -> None:
        super().__init__(content)
        self.taken = 0
        self.error = error

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        self.taken += len(piece)
        if not piece and self.error is not None:
            raise self.error
        return piece


def asked(
    app: Flask, path: str, stream: object, length: int, kind: str = FORM_TYPE, **headers: str
) -> tuple[str, Iterable[bytes]]:
    """Ask as a server does that never closes an answer; return the status and the answer."""
    environ = EnvironBuilder(path, method="POST", content_type=kind, headers=list(headers.items())).get_environ()
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = stream, str(length)
    begun: list[str] = []

    def start_response(status: str, _: object, _exc_info: object = None, /) -> Any:
        begun.append(status)

    answer = app.wsgi_app(environ, start_response)
    return begun[0][:3], answer


def is_free(client: SeparateClient) -> bool:
    """Tell whether a request with a body gets the only slot at this moment."""
    return client.post("/auth/device/code", data=FORM, content_type=FORM_TYPE).status_code == 200


def add_view(app: Flask, view: Callable[[], str]) -> None:
    app.add_url_rule("/view", "view", public(view), methods=["POST"])


class TestTheSlotIsFreeAgain:
    def test_when_the_server_never_closes_the_answer(self, app: Flask, client: SeparateClient) -> None:
        status, kept = asked(app, "/auth/device/code", Stream(FORM), len(FORM))
        assert (status, is_free(client)) == ("200", True)
        assert kept is not None

    def test_when_it_never_closes_that_of_a_body_that_was_given_up(self, app: Flask, client: SeparateClient) -> None:
        source = Silent(b"client_id")
        status, answer = asked(app, "/auth/device/code", source, 1000)
        assert status == "408"
        del answer
        assert is_free(client)
        source.ended.set()

    @pytest.mark.parametrize("error", [None, OSError("connection reset")], ids=["it ends", "an error"])
    @pytest.mark.parametrize("length", [1000, LARGE])
    def test_when_the_client_goes_away_in_the_middle(
        self, app: Flask, client: SeparateClient, length: int, error: OSError | None
    ) -> None:
        status, _ = asked(app, "/auth/device/code", Stream(b"client_id", error), length)
        assert status == ("400" if length < LARGE else "413")
        assert is_free(client)

    @pytest.mark.parametrize("error", [RuntimeError("canary"), busy()], ids=["a crash", "a refusal"])
    def test_when_the_view_raises(self, app: Flask, client: SeparateClient, error: Exception) -> None:
        def fail() -> str:
            raise error

        add_view(app, fail)
        assert client.post("/view", data=b"x").status_code in (500, 503)
        assert is_free(client)

    def test_when_the_view_raises_what_nobody_catches(self, app: Flask, client: SeparateClient) -> None:
        def leave() -> str:
            raise SystemExit(1)

        add_view(app, leave)
        with pytest.raises(SystemExit):
            asked(app, "/view", Stream(b"x"), 1)
        assert is_free(client)

    @pytest.mark.parametrize(("path", "status"), [("/auth/device/code", "413"), ("/orgs", "401"), ("/nothing", "404")])
    def test_after_a_large_body_that_nobody_wants_and_nobody_reads(
        self, app: Flask, client: SeparateClient, path: str, status: str
    ) -> None:
        stream = Stream(b"x" * LARGE)
        assert asked(app, path, stream, LARGE)[0] == status
        assert stream.taken == 0
        assert is_free(client)


def test_a_request_that_waits_for_its_body_keeps_no_other_from_reading_its_own(house: House) -> None:
    """Both read it themselves, because they were asked for it."""
    source, expect = Silent(), {"Expect": "100-continue"}
    thread = threading.Thread(
        target=lambda: asked(house.app, "/auth/login", source, 1000, "application/json", **expect)
    )
    thread.start()
    found: list[int] = []

    def sign_in() -> None:
        found.append(house.client.post("/auth/login", json={}, headers=expect).status_code)

    other = threading.Thread(target=sign_in)
    other.start()
    other.join(2)
    assert found == [422]
    source.ended.set()
    for waiting in (thread, other):
        waiting.join(LONG)


def at_work(app: Flask) -> tuple[threading.Thread, threading.Event]:
    """Have a request at work in the only slot until the event is set."""
    begun, end = threading.Event(), threading.Event()

    def wait() -> str:
        request.get_data()
        begun.set()
        end.wait(LONG)
        return "done"

    add_view(app, wait)
    thread = threading.Thread(target=lambda: asked(app, "/view", Stream(b"x"), 1))
    thread.start()
    assert begun.wait(LONG)
    return thread, end


def as_told(response: TestResponse) -> tuple[int, list[tuple[str, str]], bytes]:
    return response.status_code, sorted(response.headers), response.data


def test_who_gets_no_slot_is_refused_like_anybody_else(app: Flask, client: SeparateClient) -> None:
    """The refusal is made without the application; nobody can tell it from one that the application makes."""

    def refuse() -> str:
        raise Busy(busy().detail)

    app.add_url_rule("/refuses", "refuses", public(refuse))
    thread, end = at_work(app)
    same = {"X-Request-Id": "proxy-12345678"}
    refused = client.post("/auth/login", json={"email": "a@example.com", "password": "b"}, headers=same)
    document = refusal(refused, 503, "busy")
    assert document["detail"] == busy().detail
    assert refused.headers["Retry-After"]
    assert as_told(refused) == as_told(client.get("/refuses", headers=same))
    end.set()
    thread.join()
    assert is_free(client)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_only_reads_needs_no_slot(app: Flask, client: SeparateClient, world: World, method: str) -> None:
    key = api_key(world.key(world.org())[1])
    thread, end = at_work(app)
    for path in ("/health", "/tenants"):
        assert client.open(path, method=method, headers=key).status_code == 200
    assert client.open("/health", method=method, data=b"x").status_code == 503, "with a body it needs one"
    end.set()
    thread.join()


@pytest.mark.parametrize("expect", ["", "100-continue"])
def test_a_body_that_has_come_gives_way_no_more(app: Flask, client: SeparateClient, expect: str) -> None:
    """Also one that the application read itself; the work is done, and its answer arrives whole."""
    statuses = []

    def work() -> str:
        request.get_data()
        threading.Event().wait(FAIR * 1.5)
        statuses.append(client.post("/auth/login", json={}).status_code)
        return "done"

    add_view(app, work)
    headers = {"Expect": expect} if expect else {}
    response = client.post("/view", data=b"abc", headers=headers)
    assert (statuses, response.status_code, response.data) == ([503], 200, b"done")
    assert response.content_length == len(b"done")


def test_a_body_that_was_asked_for_and_does_not_come_gives_way(app: Flask, client: SeparateClient) -> None:
    source, found = Silent(), []
    thread = threading.Thread(
        target=lambda: found.append(asked(app, "/auth/device/code", source, 25, Expect="100-continue")[0])
    )
    thread.start()
    while not is_free(client):
        threading.Event().wait(FAIR)
    thread.join(LONG)
    source.ended.set()
    assert found == ["503"]


class Now:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    found = Now()
    monkeypatch.setattr("mushu.server.web.body_slots.time.monotonic", found)
    return found


@pytest.fixture
def slots(now: Now) -> Slots:
    return Slots(COUNT)


def body() -> PacedBody:
    return PacedBody(io.BytesIO(), Readers(), Pace(30, 1024))


def entered(slots: Slots, count: int = COUNT) -> list[PacedBody]:
    bodies = [body() for _ in range(count)]
    assert all(slots.enter(one) for one in bodies)
    return bodies


def test_there_are_as_many_as_were_asked_for_and_each_is_free_again(slots: Slots) -> None:
    for _ in range(3):
        bodies = entered(slots)
        assert not slots.enter(body())
        for one in bodies:
            assert slots.arrived(one)
            slots.leave(one)


def test_the_body_that_was_waited_for_longest_gives_way(slots: Slots, now: Now) -> None:
    first, second, *_ = entered(slots)
    now.seconds += FAIR
    assert slots.enter(body())
    assert isinstance(first.ended_by, Busy)
    assert second.ended_by is None
    assert not slots.arrived(first)
    assert slots.arrived(second)


def test_a_young_body_does_not(slots: Slots, now: Now) -> None:
    bodies = entered(slots)
    now.seconds += FAIR - 0.01
    assert not slots.enter(body())
    assert [one.ended_by for one in bodies] == [None] * COUNT


def test_a_request_at_work_does_not_however_long_it_takes(slots: Slots, now: Now) -> None:
    for one in entered(slots):
        assert slots.arrived(one)
    now.seconds += 3600
    assert not slots.enter(body())


def test_bodies_that_never_end_keep_nobody_out(slots: Slots, now: Now) -> None:
    """Each request that comes finds a slot, and the slot of one that is done is free for the next."""
    entered(slots)
    for _ in range(100):
        now.seconds += FAIR
        comes = body()
        assert slots.enter(comes)
        assert slots.arrived(comes)
        slots.leave(comes)


def test_those_that_gave_way_and_are_not_answered_yet_are_bounded(now: Now) -> None:
    slots = Slots(MOST_LEAVING + 4)
    bodies = entered(slots, MOST_LEAVING + 4)
    now.seconds += FAIR
    entered(slots, MOST_LEAVING)
    now.seconds += FAIR
    assert not slots.enter(body()), "their threads are not there for more"
    slots.leave(bodies[0])
    assert slots.enter(body())


def test_one_that_gave_way_frees_no_slot_when_it_leaves(slots: Slots, now: Now) -> None:
    old = entered(slots)
    now.seconds += FAIR
    new = entered(slots)
    for one in old:
        slots.leave(one)
    assert not slots.enter(body())
    for one in new:
        slots.leave(one)
    entered(slots)
    assert not slots.enter(body())


def test_a_request_that_waits_for_somebody_else_has_others_go_on(app: Flask) -> None:
    left: list[str] = []
    exchange = Exchange(None, Begun(), lambda: left.append("left"))
    for environ, expected in (({}, []), ({EXCHANGE: exchange}, ["left"])):
        with app.test_request_context(environ_overrides=environ), thread_slot():
            assert left == expected
