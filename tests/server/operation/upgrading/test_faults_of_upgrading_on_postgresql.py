"""A start that migrates a PostgreSQL database: a dump first, and a way back. Faults that were found in use."""

import os

import pytest
from sqlalchemy import create_engine, make_url, text

from mushu.server.core import Core, db
from mushu.server.db import writing
from mushu.server.errors import MushuError
from mushu.server.operation import first_run
from tests.server.conftest import World
from tests.server.operation.upgrading.conftest import HEAD, content, content_now, copy_of, go_back

pytestmark = [pytest.mark.database, pytest.mark.postgresql, pytest.mark.fault, pytest.mark.usefixtures("context")]


def test_a_start_that_migrates_dumps_the_database_first_and_the_script_goes_back(
    core: Core, filled: World, next_one: str
) -> None:
    core.sealing_keys.begin()
    before = content_now()
    said = "\n".join(first_run.prepare(core))
    folder = copy_of(core)
    assert f"{folder} holds the database as it was at {HEAD}" in said
    assert (folder / "database.dump").stat().st_mode & 0o777 == 0o600
    keys = core.settings.instance_path / f"sealing_keys.{folder.name}"
    assert keys.read_bytes() == core.sealing_keys.path.read_bytes()
    with writing(db.session):
        db.session.execute(text("INSERT INTO extra VALUES (1)"))
    newer = content_now()
    told = go_back(core)
    database = told.partition("in the place of the database's name: ")[2].partition("\n")[0]
    assert database.startswith(f"mushu_up_{os.getpid()}_before_9998_")
    restored = create_engine(make_url(core.settings.sqlalchemy_url).set(database=database))
    with restored.connect() as connection:
        assert content(connection) == before
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == HEAD
    restored.dispose()
    assert content_now() == newer, "the present one is left as it is"


def test_without_pg_dump_nothing_is_migrated(
    core: Core, filled: World, next_one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content_now()
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MushuError, match=r"There is no pg_dump here.*Nothing was migrated.*--no-copy"):
        first_run.prepare(core)
    assert content_now() == before
    assert list(core.settings.instance_path.glob("before-*")) == []
