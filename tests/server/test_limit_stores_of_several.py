"""Windows in Redis are those of one machine, for several: exact, all or none. A real server counts."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mushu.server.config import Settings
from mushu.server.errors import ConfigurationError, LimiterUnavailable
from mushu.server.limit_stores import look_at_store, open_store
from mushu.server.limiter import Limiter
from mushu.server.rate_limits import windows_of
from mushu.testing.processes import fork, wait_for
from tests.long import times

pytest.importorskip("limits", reason="install the extra `redis`")
SERVER = shutil.which("valkey-server") or shutil.which("redis-server")
needs_server = pytest.mark.skipif(
    SERVER is None and os.environ.get("CI") != "true", reason="install redis-server or valkey-server"
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a socket in a folder of its own."""
    assert SERVER is not None
    folder = tmp_path_factory.mktemp("redis")
    arguments = ["--port", "0", "--unixsocket", "s", "--save", "", "--dir", str(folder), "--logfile", "log"]
    with subprocess.Popen([SERVER, *arguments], cwd=folder) as server:
        while not (folder / "s").exists():
            assert server.poll() is None, (folder / "log").read_text()
        yield f"redis+unix://{folder}/s"
        server.terminate()


@needs_server
def test_four_processes_let_exactly_so_many_pass_and_count_in_all_or_none(
    url: str, tmp_path: Path, settings: Settings
) -> None:
    shared = Settings(instance_path=settings.instance_path, limits_url=url)
    assert shared.faults() == []
    most, each = times(100, 5_000), times(60, 3_000)
    windows = windows_of("key_a", f"{most + 50}/day;{most}/total")

    def ask(number: int) -> int:
        mine = open_store(shared)
        (tmp_path / str(number)).write_text(str(sum(mine.take([windows], 0)[0][0] for _ in range(each))))
        return 0

    workers = [fork(lambda number=number: ask(number)) for number in range(4)]  # type: ignore[misc]
    assert [wait_for(worker) for worker in workers] == [0] * 4
    assert sum(int((tmp_path / str(number)).read_text()) for number in range(4)) == most
    store = open_store(shared)
    store.make()
    _, (day, total) = store.take([windows], 0)[0]
    assert (day.remaining, total.remaining, total.resets_in, store.sweep(0)) == (50, 0, None, 0)
    (_, both), (passes, again), (_, [other]) = store.take(
        [
            windows_of("key_b", "1/day;2/total"),
            windows_of("key_b", "1/day;9/hour;2/total"),
            windows_of("key_c", "5/day"),
        ],
        0,
    )
    assert [left.remaining for left in both] == [0, 1]
    assert (passes, [left.remaining for left in again], other.remaining) == (False, [9, 0, 1], 4)
    assert again[0].resets_in == 3_600, "it has not begun"
    assert day.resets_in is not None
    assert 86_000 < day.resets_in <= 86_400
    assert look_at_store(shared, in_use=True) == (True, f"counted in {url.partition('://')[2]}")


def test_a_server_that_is_away_decides_nothing(settings: Settings) -> None:
    away = Settings(instance_path=settings.instance_path, limits_url=f"redis+unix://{settings.instance_path}/none")
    with pytest.raises(LimiterUnavailable):
        Limiter(open_store(away)).take(windows_of("key_a", "1/total"), 0)
    found, told = look_at_store(away, in_use=False)
    assert (found, "Start the Redis" in told) == (False, True)


def test_a_client_that_is_not_installed_or_an_address_that_it_does_not_take_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Settings(instance_path=settings.instance_path, limits_url="redis://127.0.0.1:6379/0?socket_timeout=x")
    with pytest.raises(ConfigurationError, match="must look like"):
        open_store(wrong)
    monkeypatch.setattr("limits.util.get_dependency", lambda _: (None, None))
    with pytest.raises(ConfigurationError, match="pip install"):
        open_store(Settings(instance_path=settings.instance_path, limits_url="redis://127.0.0.1"))
