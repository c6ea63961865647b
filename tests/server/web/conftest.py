"""Requests that arrive as in production, and a house that a whole module of small tests shares."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import Mock

import pytest
from flask import Flask
from sqlalchemy import event

from mushu.destination import Surroundings, open_destination
from mushu.server.core import Core, db
from tests.conftest import TurnableClock
from tests.server.conftest import World, quiet_app, settings_on
from tests.server.web.asking import SeparateClient
from tests.server.web.endpoints import Stage


@dataclass(frozen=True)
class House:
    """An application with its database, for many tests that each bring their own people, organizations and keys."""

    app: Flask
    clock: TurnableClock
    world: World
    client: SeparateClient


@pytest.fixture
def client(app: Flask) -> SeparateClient:
    return SeparateClient(app)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, database_template: str | Path) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    clock = TurnableClock()
    settings = settings_on(folder / "instance", database_template)
    core = Core(settings, clock, lambda uri: open_destination(uri, Surroundings(folder)))
    app = quiet_app(core)
    with app.app_context():
        hurry()
        yield House(app, clock, World(clock, core), SeparateClient(app))
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def stage(house: House) -> Stage:
    """An organization of the test's own in the house."""
    return Stage(house.world)


def hurry() -> None:
    """Spare thousands of small transactions the wait for the disk: nobody cuts the power here."""
    if db.engine.dialect.name == "sqlite":
        event.listen(db.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))


@pytest.fixture(params=["the fast path", "the view"])
def on_both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast path can be taken away without another answer."""
    if request.param == "the view":
        monkeypatch.setattr("mushu.server.web.fast_path.whole_json", Mock(side_effect=ValueError))
        monkeypatch.setattr("mushu.server.web.fast_path.whole_form", Mock(side_effect=ValueError))
