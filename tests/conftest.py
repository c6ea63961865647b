"""What every test may use. Sockets are closed but for loopback (`setup.cfg`); warnings are errors."""

import gc
import os
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest


class TurnableClock:
    """A clock that stands still until a test turns it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **duration: float) -> None:
        self.now += timedelta(**duration)


@pytest.fixture
def clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings, the home or the instance folder of whoever runs it."""
    home: Path = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name in ("MUSHU_INSTANCE_PATH", "MUSHU_DATABASE_URL", "MUSHU_HOST", "MUSHU_PORT", "MUSHU_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def pytest_collection_finish() -> None:
    """Leave young what a test makes until the test has ended, so that the look at the end of it is a cheap one."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 1_000, 1_000)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Find what a test left open once it has ended, and not whenever the collector comes by: warnings are errors.

    pytest reports it as an error in the setup of the test that follows.
    """
    ran = yield
    gc.collect(1)
    return ran


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing is missing, so a test that is skipped there is one that failed."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report
