"""Figures of many keys equal what the lists with the same filters show, and what was counted; each by one statement."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from mushu.environment import Environment
from mushu.server import kept_figures
from mushu.server.audit import SYSTEM
from mushu.server.core import db, reader_in
from mushu.server.db import READ_ONLY, reading, writing
from mushu.server.errors import DatabaseUnavailable
from mushu.server.figures import (
    HOURS_OF_A_KEY,
    LONG,
    SOON,
    KeyCounts,
    added_up,
    count_keys,
    count_listed,
    hours_by_key,
    hours_of_keys,
    total,
)
from mushu.server.filtered_keys import FilteredKeys
from mushu.server.hygiene import Hygiene, list_keys_to_look_at
from mushu.server.kept_figures import KeptFigures
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.selection import Selection, StateAt
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DELETE, DISABLE, State
from mushu.server.orgs.models import Organization
from mushu.server.paging import Window
from mushu.server.usage import Recorder
from mushu.server.usage.engine import _both_engine, reading_with_usage, usage_engine
from mushu.server.usage.report import unusual_keys
from tests.conftest import TurnableClock
from tests.server.conftest import World
from tests.server.statements import statements
from tests.server.verbs import issue_key

pytestmark = pytest.mark.database

KINDS = {
    "keys": Hygiene(),
    "drifted": Hygiene(drifted=True),
    "stalled": Hygiene(stalled=True),
    "expiring": Hygiene(expires_within=SOON),
    "unused": Hygiene(unused=True),
    "idle": Hygiene(idle=LONG),
    "owner_left": Hygiene(owner_left=True),
    "no_expiry": Hygiene(no_expiry=True),
}
HOUR = timedelta(hours=1)


class Used:
    """Four keys of an organization: two are used, of which one is disabled; one ends soon; one is deleted."""

    def __init__(self, world: World, clock: TurnableClock) -> None:
        self.clock = clock
        self.org = world.org()
        self.other = world.key(world.org())[0]
        self.busy, self.quiet, self.soon, self.gone = (
            self.add(name, days) for name, days in (("busy", None), ("quiet", 400), ("soon", 120), ("gone", None))
        )
        clock.turn(days=91)
        self.count((self.busy, 3, 1), (self.quiet, 2, 0), (self.gone, 7, 0), (self.other, 9, 9))
        clock.turn(hours=30)
        self.count((self.busy, 5, 0), (self.other, 9, 9))
        with writing(db.session):
            change_state(db.session, clock, SYSTEM, self.quiet.id, DISABLE)
            change_state(db.session, clock, SYSTEM, self.gone.id, DELETE)

    def add(self, name: str, days: float | None) -> ApiKey:
        expires_at = self.clock() + timedelta(days=days) if days is not None else None
        with writing(db.session):
            request = KeyRequest(org_id=self.org.id, name=name, expires_at=expires_at)
            return issue_key(db.session, self.clock, SYSTEM, request)[0]

    def count(self, *uses: tuple[ApiKey, int, int]) -> None:
        recorder = Recorder(db.engine, None, 0)
        for key, requests, denials in uses:
            for _ in range(requests):
                recorder.saw(key.id, self.clock(), "192.0.2.7")
            for _ in range(denials):
                recorder.denied(key.id, self.clock(), "192.0.2.7", "missing_scope")
        recorder.flush()

    def read(self, figure: Callable[..., Any], *about: Any) -> Any:
        with reading(db.session):
            return figure(db.session, self.clock(), *about)


@pytest.fixture
def used(world: World, clock: TurnableClock) -> Used:
    return Used(world, clock)


@pytest.mark.parametrize("hygiene", [Hygiene(), Hygiene(no_expiry=True), Hygiene(used_within=40 * HOUR)])
def test_each_count_is_that_of_the_list_with_the_same_filters(used: Used, hygiene: Hygiene) -> None:
    selections = (Selection(), Selection(search="U"), Selection(with_deleted=True), Selection((Environment.TEST,)))
    for selection in (*selections, Selection(state=StateAt(State.DISABLED, used.clock()))):
        counts: KeyCounts = used.read(count_keys, used.org.id, selection, hygiene)
        assert used.read(count_listed, used.org.id, selection, hygiene) == counts.keys
        for environment in Environment:  # and on a page
            there = replace(selection, environments=(environment,))
            filtered = FilteredKeys(used.org.id, environment, there, hygiene, used.clock())
            with reading_with_usage(reader_in(environment)) as both:
                assert filtered.count(both) == used.read(count_listed, used.org.id, there, hygiene)
                assert filtered.hours(both) == used.read(hours_of_keys, used.org.id, there, hygiene)
        for name, kind in KINDS.items():
            conditions = hygiene.conditions(used.clock(), used.org.id)
            also = Selection(
                selection.environments,
                with_deleted=selection.with_deleted,
                search=selection.search,
                state=selection.state,
            )
            page = used.read(list_keys_to_look_at, used.org.id, also, kind, Window())
            ids = {key.id for key in page.rows}
            if conditions:
                ids &= {key.id for key in used.read(list_keys_to_look_at, used.org.id, also, hygiene, Window()).rows}
            assert getattr(counts, name) == len(ids), (name, selection)


def test_deleted_keys_are_counted_apart(used: Used) -> None:
    counts = used.read(count_keys, used.org.id, Selection())
    assert (counts.keys, counts.deleted, counts.unused, counts.no_expiry, counts.expiring) == (3, 1, 1, 1, 1)
    assert used.read(count_keys, "org_none", Selection()) == KeyCounts(**dict.fromkeys(["deleted", *KINDS], 0))


def test_totals_are_of_the_keys_that_are_meant_and_of_the_last_day(used: Used) -> None:
    hours = partial(used.read, hours_of_keys, used.org.id)
    assert len(hours(Selection())) == 24
    assert total(hours(Selection())) == (5, 0)
    used.clock.turn(hours=-7)
    assert total(hours(Selection())) == (5, 1), "of 23 hours before; an hour to come is none of the last ones"
    assert total(hours(Selection(with_deleted=True))) == (12, 1)
    assert total(hours(Selection(search="quiet"))) == (2, 0)
    assert total(hours(Selection(), Hygiene(no_expiry=True))) == (3, 1)


def test_the_hours_of_a_page_of_keys_hold_what_each_counted(used: Used) -> None:
    bars = used.read(hours_by_key, [used.busy.id, used.soon.id])
    assert sorted(bars[used.busy.id]) == [(HOURS_OF_A_KEY - 31, 3, 1), (HOURS_OF_A_KEY - 1, 5, 0)]
    assert bars[used.soon.id] == []
    for hours in (0, -7, 8, 40):
        used.clock.turn(hours=hours)
        bars = used.read(hours_by_key, [used.busy.id, used.quiet.id, used.soon.id])
        assert added_up(used.clock(), bars.values()) == used.read(hours_of_keys, used.org.id, Selection())


def test_nothing_was_counted_yet(world: World, clock: TurnableClock) -> None:
    org: Organization = world.org()
    key, _ = world.key(org)
    with reading(db.session):
        assert count_keys(db.session, clock(), org.id, Selection()).unused == 1
        assert total(hours_of_keys(db.session, clock(), org.id, Selection())) == (0, 0)
        assert hours_by_key(db.session, clock(), [key.id]) == {key.id: []}


def test_the_figures_of_an_organization_are_those_of_all_its_keys(used: Used) -> None:
    now, reader = used.clock(), reader_in(Environment.LIVE)
    found = KeptFigures().of(reader, now, used.org.id, Environment.LIVE)
    assert found.counts == used.read(count_keys, used.org.id, Selection((Environment.LIVE,)))
    assert found.hours == used.read(hours_of_keys, used.org.id, Selection((Environment.LIVE,)))
    assert KeptFigures().of(reader, now, used.org.id, Environment.TEST).counts.keys == 0
    bars = hours_by_key(reader, now, [used.busy.id, used.soon.id])
    assert bars == used.read(hours_by_key, [used.busy.id, used.soon.id])


def test_figures_of_many_keys_are_kept_until_something_happens_to_the_organization(
    used: Used, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, reader = KeptFigures(), reader_in(Environment.LIVE)

    def asked() -> tuple[KeyCounts, int]:
        with statements(Engine) as found:
            counts = kept.of(reader, used.clock(), used.org.id, Environment.LIVE).counts
        return counts, len(found)

    assert [asked()[1] for _ in range(2)] == [2, 2], "few keys are counted each time"
    with statements(Engine) as found:
        assert kept.counts(reader, used.clock(), used.org.id, Environment.LIVE) == asked()[0]
    assert len(found) == 3, "their hours are asked for by who has them not on a page"
    grown = KeptFigures()
    grown.of(reader, used.clock(), used.org.id, Environment.LIVE)
    monkeypatch.setattr(kept_figures, "FEW", 3)
    assert grown.counts(reader, used.clock(), used.org.id, Environment.LIVE) == asked()[0]
    kept._kept.clear()
    (before, first), (_, second), (_, third) = (asked() for _ in range(3))
    assert (first, second, third) == (2, 2, 1)
    with writing(db.session):
        change_state(db.session, used.clock, SYSTEM, used.soon.id, DELETE)
    after, again = asked()
    assert (after.deleted, again) == (before.deleted + 1, 2)
    assert asked()[1] == 1
    assert kept.counts(reader, used.clock(), used.org.id, Environment.LIVE) == after
    used.clock.turn(minutes=30)
    assert [asked()[1] for _ in range(2)] == [3, 1]

    def unusual() -> int:
        with statements(Engine) as found:
            assert kept.unusual(reader, used.clock(), used.org.id, Environment.LIVE) == unusual_keys(
                reader, used.clock(), used.org.id, Environment.LIVE
            )
        return len(found)

    alone = unusual() // 2
    assert [unusual() for _ in range(2)] == [alone, alone]
    monkeypatch.setattr(kept_figures, "_MOST_KEPT", 1)
    kept.of(reader, used.clock(), used.other.org_id, Environment.LIVE)
    assert asked()[1] == 1, "that one has few keys"
    monkeypatch.setattr(kept_figures, "FEW", 0)
    kept.of(reader, used.clock(), used.other.org_id, Environment.LIVE)
    assert asked()[1] == 2, "the one that was kept longest is left out"


@pytest.mark.sqlite
def test_usage_that_cannot_be_read_is_no_zero(used: Used) -> None:
    file, org_id = usage_engine(db.engine).url.database, used.org.id
    assert file is not None
    for ending in ("-wal", "-shm"):
        Path(f"{file}{ending}").unlink(missing_ok=True)
    Path(file).write_bytes(b"no database" * 1_000)
    with pytest.raises(DatabaseUnavailable, match="flask doctor"):
        KeptFigures().of(reader_in(Environment.LIVE), used.clock(), org_id, Environment.LIVE)
    for figure in (count_keys, hours_of_keys):
        with pytest.raises(DatabaseUnavailable, match="flask doctor"):
            used.read(figure, org_id, Selection())
    with pytest.raises(DatabaseUnavailable, match="flask doctor"):
        used.read(list_keys_to_look_at, org_id, Selection(), Hygiene(unused=True), Window())


def test_a_figure_costs_one_statement_whatever_is_asked(used: Used) -> None:
    asked: list[str] = []
    for engine in {usage_engine(db.engine), db.engine, *_attached()}:
        event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    for figure, about in (
        (count_keys, (used.org.id, Selection(search="u"), Hygiene(unused=True))),
        (hours_of_keys, (used.org.id, Selection(search="u"), Hygiene(unused=True))),
        (hours_by_key, ([key.id for key in (used.busy, used.soon, used.quiet)],)),
    ):
        asked.clear()
        used.read(figure, *about)
        assert len([one for one in asked if one.startswith("SELECT")]) == 1, asked


@pytest.mark.sqlite
def test_a_page_by_use_is_read_in_the_order_of_the_index_of_keys(used: Used) -> None:
    engine = _attached()[0]
    kinds = [Hygiene(unused=True), Hygiene(idle=LONG), Hygiene(used_within=HOUR)]
    for kind in kinds:
        with statements(engine) as asked:
            used.read(list_keys_to_look_at, used.org.id, Selection((Environment.LIVE,)), kind, Window())
        (query,) = [one for one in asked if "LIMIT" in one]
        with engine.connect().execution_options(**{READ_ONLY: True}) as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", (None,) * query.count("?")).all()
        lines = [row[3] for row in plan]
        assert not [line for line in lines if line.startswith("SCAN") or "TEMP B-TREE" in line], lines


def _attached() -> list[Any]:
    """Return the engine that reads keys and usage together, where that is one of its own."""
    database = db.engine.url.database
    if db.engine.dialect.name != "sqlite" or database is None:
        return []
    return [_both_engine(db.engine, Path(database))]
