"""What every test may use. Sockets are closed but for loopback (`setup.cfg`); warnings are errors."""

import gc
import os
import shutil
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Final

import hypothesis
import pytest

from tests.long import LONG, SEED
from tests.vault import bao

_FAILED: Final = pytest.StashKey[bool]()
_NUMBERS: Final = count(1)


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


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds those of all tests of this process."""
    return tmp_path_factory.mktemp("tests")


@pytest.fixture
def tmp_path(folders: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty folder of the test's own, kept where the test failed.

    Pytest's own fixture looks through the folders of all tests before it makes one, which thousands of tests feel.
    """
    folder = folders / str(next(_NUMBERS))
    folder.mkdir(mode=0o700)
    yield folder
    if not request.node.stash.get(_FAILED, False):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def homes(folders: Path) -> list[Path]:
    """The home that the next test gets, as the last item: the same for all tests that leave nothing in theirs."""
    return [_new_home(folders)]


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    """What runs in this process may narrow it for good; each test begins with the one that most have."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    """The server sets variables for what it starts; in this process they must not reach the test that follows."""
    before = dict(os.environ)
    yield
    if dict(os.environ) != before:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(autouse=True)
def _own_surroundings(
    folders: Path, homes: list[Path], monkeypatch: pytest.MonkeyPatch, _same_environment: None
) -> None:
    """No test sees the settings, the home or the instance folder of whoever runs it."""
    if any(homes[-1].iterdir()):
        homes.append(_new_home(folders))
    monkeypatch.setenv("HOME", str(homes[-1]))
    for name in ("MUSHU_INSTANCE_PATH", "MUSHU_DATABASE_URL", "MUSHU_HOST", "MUSHU_PORT", "MUSHU_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def openbao(folders: Path) -> Iterator[bao.Address]:
    """A real OpenBao, for all tests of this process."""
    if bao.binary() is None:
        pytest.skip("no package brings OpenBao for this machine")
    with bao.running(folders) as address:
        yield address


def _new_home(folders: Path) -> Path:
    home = folders / f"home-{next(_NUMBERS)}"
    home.mkdir(mode=0o700)
    return home


def pytest_configure(config: pytest.Config) -> None:
    """Give Hypothesis the seed of the long form; in the short one it draws the same in every run."""
    # No deadline for an example, and no check that inputs come fast: each would be a measurement of the machine.
    unchecked = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile(
        "mushu", deadline=None, derandomize=not LONG, database=None, suppress_health_check=unchecked
    )
    hypothesis.settings.load_profile("mushu")
    if LONG and config.getoption("hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(SEED)


def pytest_report_header() -> str:
    return f"{'long' if LONG else 'short'} form, MUSHU_TEST_SEED={SEED}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files whose tests are dear: at the end, no process is to wait for another's last one."""
    items.sort(key=lambda item: not _is_dear(item.getparent(pytest.Module)))


def _is_dear(module: pytest.Module | None) -> bool:
    return module is not None and module.get_closest_marker("unmeasured") is not None


def pytest_collection_finish() -> None:
    """Leave young what a test makes until the test has ended, so that the look at the end of it is a cheap one."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 1_000, 1_000)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Find what a test left open once it has ended, and not whenever the collector comes by: warnings are errors.

    pytest reports it as an error in the setup of the test that follows.
    """
    with unmeasured() if item.get_closest_marker("unmeasured") else nullcontext():
        ran = yield
    gc.collect(1)
    return ran


@contextmanager
def unmeasured() -> Iterator[None]:
    """Keep coverage out, which makes what it watches take twice as long."""
    here, in_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        yield
    finally:
        threading.settrace(in_threads)
        sys.settrace(here)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing is missing, so a test that is skipped there is one that failed."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    if report.failed:
        item.stash[_FAILED] = True
    return report
