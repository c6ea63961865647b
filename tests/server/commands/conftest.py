"""Commands as an operator runs them: `flask …` through Flask's own command line, in this process."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.cli import FlaskGroup

from mushu.server.config import Settings
from mushu.server.core import core_context
from tests.ran import Ran
from tests.server.conftest import CHEAP_ARGON2

Run = Callable[..., Ran]


@pytest.fixture
def run(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `flask ARGUMENTS` on this test's instance, from its temporary folder."""
    monkeypatch.setenv("MUSHU_INSTANCE_PATH", str(settings.instance_path))
    monkeypatch.setenv("FLASK_SKIP_DOTENV", "1")
    if settings.database_url:
        monkeypatch.setenv("MUSHU_DATABASE_URL", settings.database_url)
    for name, value in CHEAP_ARGON2.items():
        monkeypatch.setenv(f"MUSHU_{name.upper()}", str(value))
    monkeypatch.chdir(tmp_path)

    def run_flask(*arguments: str, stdin: str | None = None) -> Ran:
        group = FlaskGroup(name="flask", load_dotenv=False)
        result = CliRunner().invoke(group, list(arguments), input=stdin, prog_name="flask")
        os.umask(0o022)  # the command's process would have ended with it
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run_flask


@pytest.fixture
def migrated(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no migration missing: on PostgreSQL, the tables of tests are made from the models."""
    if settings.database_url:
        monkeypatch.setattr("mushu.server.operation.database_checks.pending_migrations", list)


@pytest.fixture
def acme(run: Run) -> str:
    """The id of an organization named acme, owned by ada@example.com."""
    run("users", "create", "--email", "ada@example.com")
    org_id: str = run("orgs", "create", "acme", "--owner", "ada@example.com").json["org_id"]
    return org_id


@pytest.fixture
def in_core(settings: Settings) -> Iterator[None]:
    """An app context on the same database, to look at what a command did."""
    with core_context(lambda: settings):
        yield
