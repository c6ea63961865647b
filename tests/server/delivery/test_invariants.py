"""Whatever happens in whatever order, the promises hold: a machine tries a thousand orders, the same ones each time."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import StaticPool, create_engine

from mushu.secret import digest_of
from mushu.server import schema
from mushu.server.db import prepare_engine, reading
from mushu.server.delivery import ledger
from mushu.server.delivery.models import Delivery
from mushu.server.errors import DeliveryFailed, DeliveryUndecided, DestinationHeld, WrongState
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import find_key_by_digest
from mushu.server.keys.states import DEAD
from tests.conftest import TurnableClock
from tests.long import LONG, times
from tests.server.delivery.conftest import Post
from tests.server.delivery.shelf import (
    Crash,
    Fault,
    Shelf,
    after,
    answer_no,
    before,
    crash,
    crash_after,
    fail,
    fine,
    leak_foreign,
    lie,
    lose_answer,
    refuse,
    stale,
)

pytestmark = pytest.mark.unmeasured

URIS: Final = ("fake:a", "fake:b", "fake:c")

#: What may go wrong with each method without leaving open what was done, and what may go wrong besides.
_CLEAR: Final[dict[str, dict[str, Fault]]] = {
    "write": {"fine": fine, "refuse": refuse, "fail": fail, "lie": lie},
    "read": {"fine": fine, "fail": fail, "stale": stale, "leak": leak_foreign},
}
_DIRTY: Final[dict[str, dict[str, Fault]]] = {
    "write": {"lose answer": lose_answer, "leak": leak_foreign},
    "restore": {"refuse": refuse, "fail": fail, "lose answer": lose_answer, "deny": answer_no},
    "remove": {"fail": fail, "lose answer": lose_answer, "leak": leak_foreign},
    "read": {},
}
_ENDS: Final[dict[str, Fault]] = {"fine": fine, "fail": fail, "crash": crash, "crash after": crash_after}
#: What happens elsewhere during which call, and how the call itself ends then.
_EVENTS: Final = [
    *[
        (method, "nothing", end)
        for method in ("write", "read", "restore", "remove")
        for end in ("crash", "crash after")
    ],
    *[(method, "reconcile", "fine") for method in ("write", "read", "restore")],
    *[(method, "delete", "fine") for method in ("write", "read", "restore")],
    *[("write", "late and reconcile", end) for end in ("fine", "fail", "crash after")],
    ("read", "late and reconcile", "fine"),
    ("write", "late", "fail"),
    *[(method, "deliver", "fine") for method in ("write", "restore")],
    *[(method, "leave", end) for method in ("write", "read", "restore") for end in ("fine", "crash after")],
]

_clear_faults = st.sampled_from([(method, name) for method, faults in _CLEAR.items() for name in faults])
_dirty_faults = st.sampled_from([(method, name) for method, faults in _DIRTY.items() for name in faults])
_events = st.tuples(st.sampled_from((before, after)), st.sampled_from(_EVENTS))
_places = st.lists(st.sampled_from(URIS), min_size=1, max_size=3, unique=True)


class Deliveries(RuleBasedStateMachine):
    """Deliveries, deletes, crashes, strangers and recovery at three places."""

    def __init__(self) -> None:
        super().__init__()
        engine = create_engine("sqlite://", poolclass=StaticPool)  # one connection: a transaction too many is an error
        prepare_engine(engine)
        schema.metadata.create_all(engine, checkfirst=False)
        self.clock, self.shelf = TurnableClock(), Shelf()
        self.post = Post(engine, self.clock, self.shelf)
        self.post.found_org()
        self.shelf.on_call, self.shelf.on_loss = self._watch, self._mourn
        self.forcing = False
        self.kept: set[str] = set()
        #: Digests that a stranger or `--force` overwrote.
        self.overwritten: set[str] = set()
        self.at_first_write: dict[str, str] | None = None

    def _watch(self, call: str) -> None:
        assert not self.post.session.in_transaction(), call
        if call.startswith("write") and self.at_first_write is None:
            self.at_first_write = dict(self.shelf.values)

    def _mourn(self, act: str, digest: str) -> None:
        """A value makes way: that of a dead key may, any other only for a stranger or by force."""
        other = self.post.another()
        with reading(other.session):
            key = find_key_by_digest(other.session, digest)
        dead = key is not None and key.stored_state in DEAD
        assert dead or act == "stranger" or (act == "write" and self.forcing), (act, key)
        if not dead:
            self.overwritten.add(digest)

    def _restart(self) -> None:
        """The process is gone, and with it its session and its plans."""
        self.post.session.close()
        self.post = self.post.another()
        self.shelf.script.clear()

    def _deliver(self, places: list[str], *, force: bool) -> str:
        self.forcing, self.at_first_write = force, None
        try:
            return self.post.deliver(*places, force=force).stored_state
        except (DeliveryFailed, DeliveryUndecided, DestinationHeld) as error:
            return type(error).__name__
        except Crash:
            self._restart()
            return "crash"
        finally:
            self.forcing = False
            self.shelf.script.clear()

    @rule(places=_places, force=st.booleans())
    def deliver(self, places: list[str], force: bool) -> None:
        self._deliver(places, force=force)

    @rule(places=_places, force=st.booleans(), faults=st.lists(_clear_faults, max_size=6), at=st.integers(0, 2))
    def deliver_with_clear_faults(self, places: list[str], force: bool, faults: list[tuple[str, str]], at: int) -> None:
        """All or nothing: what was there before is there again."""
        place = places[at % len(places)]
        self.shelf.plan(f"read {place}", fine)
        for method, name in faults:
            self.shelf.plan(f"{method} {place}", _CLEAR[method][name])
        if self._deliver(places, force=force) == "DeliveryFailed" and self.at_first_write is not None:
            assert self.shelf.values == self.at_first_write

    @rule(places=_places, force=st.booleans(), faults=st.lists(_dirty_faults, max_size=6), at=st.integers(0, 2))
    def deliver_with_dirty_faults(self, places: list[str], force: bool, faults: list[tuple[str, str]], at: int) -> None:
        place = places[at % len(places)]
        self.shelf.plan(f"write {places[-1]}", refuse)
        for method, name in faults:
            self.shelf.plan(f"{method} {place}", _DIRTY[method][name])
        self._deliver(places, force=force)

    @rule(places=_places, force=st.booleans(), event=_events, at=st.integers(0, 2))
    def deliver_while_something_happens(
        self, places: list[str], force: bool, event: tuple[Callable[..., Fault], tuple[str, str, str]], at: int
    ) -> None:
        when, (method, name, end) = event
        place = places[at % len(places)]
        if method == "read":
            self.shelf.plan(f"read {place}", fine)
        if method in ("restore", "remove"):
            self.shelf.plan(f"write {places[-1]}", refuse)
        self.shelf.plan(f"{method} {place}", when(partial(self._happen, name, place), fault=_ENDS[end]))
        outcome = self._deliver(places, force=force)
        tidy = (outcome, name, end) == ("DeliveryFailed", "reconcile", "fine")
        if tidy and not self.shelf.unreachable and self.at_first_write is not None:
            assert self.shelf.values == self.at_first_write

    def _happen(self, name: str, place: str) -> None:
        other = self.post.another()
        if name == "leave":
            self.shelf.unreachable.add(place)
        if name.startswith("late"):
            self.clock.turn(seconds=61)
        if name.endswith("reconcile"):
            other.reconcile()
        if name == "deliver":
            with suppress(DeliveryFailed, DestinationHeld):
                other.deliver(place)
        if name == "delete":
            with suppress(WrongState):
                other.delete(other.all_keys()[-1].id)

    @rule()
    def reconcile(self) -> None:
        self.post.reconcile()

    @precondition(lambda self: self.post.all_keys())
    @rule(number=st.integers(0, 20), keep_value=st.booleans())
    def delete(self, number: int, keep_value: bool) -> None:
        keys = self.post.all_keys()
        key = keys[number % len(keys)]
        try:
            self.post.delete(key.id, keep_value=keep_value)
        except WrongState:
            return
        if keep_value:
            self.kept.add(key.digest)

    @rule(place=st.sampled_from(URIS), value=st.sampled_from([None, "theirs", "others"]))
    def a_stranger_writes(self, place: str, value: str | None) -> None:
        self.shelf.put("stranger", place, value)

    @rule(place=st.sampled_from(URIS))
    def come_and_go(self, place: str) -> None:
        self.shelf.unreachable ^= {place}

    @rule(seconds=st.sampled_from([1, 61, 700]))
    def wait(self, seconds: int) -> None:
        self.clock.turn(seconds=seconds)

    @invariant()
    def the_ledger_is_true(self) -> None:
        """An active key was read back everywhere, and a dead one holds no place against others."""
        for key, rows in self._rows():
            states = {row.state for row in rows}
            if key.stored_state == "active":
                assert states == {"verified"}
                assert all((row.uri, key.digest) in self.shelf.proven for row in rows)
            if key.stored_state in DEAD:
                assert not states & {"pending", "delivered"}

    def _rows(self) -> list[tuple[ApiKey, list[Delivery]]]:
        keys = self.post.all_keys()
        with reading(self.post.session):
            rows = ledger.list_deliveries(self.post.session, [key.id for key in keys])
        return [(key, [row for row in rows if row.key_id == key.id]) for key in keys]

    @rule()
    def settle(self) -> None:
        """With everything reachable and every lease over, nothing is left open."""
        self.shelf.unreachable.clear()
        self.clock.turn(seconds=61)
        self.post.reconcile()
        held = {uri: digest_of(value) for uri, value in self.shelf.values.items()}
        for key, rows in self._rows():
            if key.stored_state == "active":
                lost = [row.uri for row in rows if held.get(row.uri) != key.digest]
                assert not lost or key.digest in self.overwritten
            else:
                assert key.stored_state in DEAD
                assert key.digest not in held.values() or key.digest in self.kept

    def teardown(self) -> None:
        self.settle()
        assert self._deliver([*URIS], force=True) == "active"
        self.post.session.close()
        self.post.engine.dispose()


TestDeliveries = Deliveries.TestCase
TestDeliveries.settings = settings(
    max_examples=times(20, 600),
    stateful_step_count=20,
    derandomize=not LONG,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # a failure of twenty steps can be read; to shorten it takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
