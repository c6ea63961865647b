"""What a request costs under Granian, in CPU of the server's processes, beside a bare Flask view in the same run.

    script/bench [--rounds N] [--keys N] [--many N] [--database URL]
    script/bench --peers [--rounds N]

One worker, served as `script/up` serves it: limits, log and usage as shipped. All servers run at once. A round is of
slices, each of which asks all cases in a new order, over eight connections that are kept. A ratio is the median of
those within a round. The CPU is read from the clocks of the processes. Much other work on the machine makes all slower,
and what switches between threads most of all.
With `--many`, a second Mushu with so many keys is asked, too: what a request costs may not grow with them.
The table is printed, and written into `bench/README.md`.
"""

import argparse
import os
import platform
import random
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.world import BARE, CREATION, EMPTY, FORWARD_AUTH, MANY, Case, cases, cases_of_many, make_world
from mushu.server.config import Settings

CONNECTIONS = 8
#: Requests of one case in one slice, and slices in one round: whatever else the machine does then meets all cases.
BATCH = 250
SLICES = 8
_README = Path(__file__).with_name("README.md")


@dataclass
class Cost:
    """Of the requests of one case in one round: CPU seconds, seconds, and how long each took."""

    cpu: float = 0
    seconds: float = 0
    took: list[float] = field(default_factory=list)

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.took, n=100)[98]


class Server:
    """A server of `bare.py`, and the CPU that its processes have used."""

    def __init__(self, name: str, environment: dict[str, str], log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        began = time.monotonic()
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.bare", name.split()[0]],
                env=os.environ | environment | {"MUSHU_PORT": str(self.port)}, cwd=_README.parents[1],
                stdout=output, stderr=output,
            )  # fmt: skip
        while not self._listens():
            if self._process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.01)
        #: Seconds from its start until it takes connections.
        self.ready = time.monotonic() - began

    def memory(self) -> int:
        """Return the megabytes of memory that its worker has: those that it shares with the main process, too."""
        status = Path(f"/proc/{self._workers()[0]}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) // 1_024

    def cpu(self) -> float:
        """Return the CPU seconds of the main process and its workers, ended threads included."""
        # The clock of another process has a number that the kernel makes of its id (clock_getcpuclockid in libc).
        return sum(time.clock_gettime((~process << 3) | 2) for process in (self._process.pid, *self._workers()))

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    def _workers(self) -> list[int]:
        main = self._process.pid
        return [int(worker) for worker in Path(f"/proc/{main}/task/{main}/children").read_text().split()]

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True


def add_cost(cost: Cost, server: Server, requests: Sequence[bytes]) -> None:
    """Ask as often as in one slice, over connections that are kept; a refusal ends the program."""
    first, took = len(cost.took), list[float]()
    with selectors.DefaultSelector() as selector, ExitStack() as open_connections:
        connections = [
            open_connections.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            for _ in range(CONNECTIONS)
        ]
        sent: dict[socket.socket, float] = {}
        received = dict.fromkeys(connections, b"")
        before, began = server.cpu(), time.perf_counter()
        for number, connection in enumerate(connections):
            selector.register(connection, selectors.EVENT_READ)
            sent[connection] = time.perf_counter()
            connection.sendall(requests[(first + number) % len(requests)])
        asked = len(connections)
        while len(took) < BATCH:
            for ready, _ in selector.select():
                connection = ready.fileobj  # type: ignore[assignment]
                received[connection] += connection.recv(65_536)
                if not is_whole(received[connection]):
                    continue
                if not received[connection].startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
                    raise SystemExit(received[connection].decode())
                received[connection], now = b"", time.perf_counter()
                took.append(now - sent[connection])
                if asked < BATCH:
                    sent[connection] = now
                    connection.sendall(requests[(first + asked) % len(requests)])
                    asked += 1
        cost.cpu += server.cpu() - before
        cost.seconds += time.perf_counter() - began
        cost.took += took


def is_whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")) if found else b""
    return bool(found) and len(body) == int(length.partition(b":")[2])


@contextmanager
def running(environments: Mapping[str, dict[str, str]], folder: Path) -> Iterator[dict[str, Server]]:
    """Have servers run; by the name of each, what its environment says besides."""
    servers: dict[str, Server] = {}
    try:
        for name, environment in environments.items():
            servers[name] = Server(name, environment, folder / f"{name}.log")
        yield servers
    finally:
        for server in servers.values():
            server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="times that each case is measured (5)")
    parser.add_argument("--keys", type=int, default=1_000, help="keys in the database (1000)")
    parser.add_argument(
        "--database", default="", help="an empty PostgreSQL database, as in MUSHU_DATABASE_URL (SQLite)"
    )
    parser.add_argument("--many", type=int, default=0, help="keys in a second database, on SQLite (none)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(instance_path=folder / "instance", database_url=given.database)
        measured = cases(make_world(settings, given.keys))
        environments = {case.server: environment(settings) for case in measured}
        if given.many:
            many = Settings(instance_path=folder / "many")
            measured += cases_of_many(make_world(many, given.many), given.many)
            environments[MANY] = environment(many)
        costs: dict[str, list[Cost]] = {case.name: [] for case in measured}
        with running(environments, folder) as servers:
            yield_to_servers()
            for number in range(given.rounds + 1):
                for case in measured:
                    costs[case.name].append(Cost())
                for _ in range(SLICES if number else 1):  # the first one is for what is made once
                    for case in random.sample(measured, len(measured)):
                        add_cost(costs[case.name][-1], servers[case.server], case.requests)
            own, bare = servers["mushu"], servers["bare"]
            created = statistics.median(BATCH * SLICES / cost.seconds for cost in costs[CREATION][1:])
            both = list(zip(costs[EMPTY], costs[FORWARD_AUTH], strict=True))[1:]
            speed = statistics.median(floor.cpu / own_cost.cpu for floor, own_cost in both)
            started = (
                f"Mushu takes connections {own.ready:.2f} s after its start, the bare view {bare.ready:.2f} s. "
                f"At the end, a worker of Mushu\nhas {own.memory()} MB, one of the bare view {bare.memory()} MB. "
                f"It creates {created:.0f} keys a second.\n"
                f"Forward-auth has {speed:.2f} of the speed of the empty application, in CPU."
            )
    table = "\n".join(lines(measured, costs))
    print(table, started, sep="\n")
    _README.write_text(page(table, started, given.rounds, given.keys, "PostgreSQL" if given.database else "SQLite"))


def yield_to_servers() -> None:
    """Have this process take no processor from a server's thread by waking up: clients are on other machines."""
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def environment(settings: Settings) -> dict[str, str]:
    return {
        "MUSHU_INSTANCE_PATH": str(settings.instance_path), "MUSHU_DATABASE_URL": settings.database_url,
        "MUSHU_WORKERS": "1",
    }  # fmt: skip


def lines(measured: Sequence[Case], costs: dict[str, list[Cost]]) -> Iterator[str]:
    yield "| request | CPU µs | CPU, speed × bare | target | requests/s × bare | p99 ms | p99 ÷ bare's |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for case in measured:
        pairs = list(zip(costs[case.name], costs[BARE], strict=True))[1:]
        cpu = statistics.median(own.cpu for own, _ in pairs) / (BATCH * SLICES) * 1e6
        p99 = statistics.median(own.p99 for own, _ in pairs) * 1e3
        speed, a_second, slowest = (
            statistics.median(ratio) for ratio in zip(*(_ratios(own, bare) for own, bare in pairs), strict=True)
        )
        target = "" if case.target is None else f"{case.target:g}"
        yield f"| {case.name} | {cpu:.0f} | {speed:.2f} | {target} | {a_second:.2f} | {p99:.1f} | {slowest:.2f} |"


def _ratios(own: Cost, bare: Cost) -> tuple[float, float, float]:
    return bare.cpu / own.cpu, bare.seconds / own.seconds, own.p99 / bare.p99


def page(table: str, started: str, rounds: int, keys: int, database: str) -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("granian", "flask", "sqlalchemy"))
    load = os.getloadavg()[1]
    return f"""# What a request costs

`script/bench` writes this page; it is not written by hand.

{table}

CPU is that of the server's processes, for each request. Medians of {rounds} rounds; ratios are taken within a round.
{started}
{database}, {keys:,} keys, one worker, {CONNECTIONS} connections, limits, log and usage as shipped.
{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {libraries}; {os.cpu_count()} cores, load {load:.1f}.

All connections ask again as soon as they are answered, so each waits for the answers of the seven others. p99 ÷ bare's
is therefore about 1 ÷ speed. Where it is much more, a thread keeps Python's lock (`unhurried` in `mushu/batching.py`).

`python -m bench.hot_path` measures the same without a server, and with `--profile` it says where the time goes.
`python -m bench.pages` measures pages of the dashboard, with 50 keys and with 300,000.
[peers](peers/README.md): what one verification costs, beside other libraries (`script/bench --peers`).
"""


if __name__ == "__main__":
    main()
