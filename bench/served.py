"""What a request costs under Granian, in CPU of the server's processes, beside a bare Flask view in the same run.

    script/bench [--rounds N] [--keys N] [--database URL]

One worker, served as `script/up` serves it: limits, log and usage as shipped. All servers run at once. A round is of
slices, each of which asks all cases in a new order, over eight connections that are kept. A ratio is the median of
those within a round. The CPU is read from the clocks of the processes. Much other work on the machine makes all slower,
and what switches between threads most of all.
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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from sqlalchemy import insert, select

from bench.hot_path import organization
from mushu.keyformat import Prefix, generate, public_id
from mushu.secret import digest_of
from mushu.server.config import Settings
from mushu.server.core import Core, core_context, db
from mushu.server.keys.models import ApiKey
from mushu.server.operation.upgrading.migrations import migrate

BARE = "bare Flask view"
_FORM = "application/x-www-form-urlencoded"
CONNECTIONS = 8
#: Requests of one case in one slice, and slices in one round: whatever else the machine does then meets all cases.
BATCH = 250
SLICES = 8
#: Keys that are used in turn; all others are only there.
IN_TURN = 1_000
#: Rows that one statement inserts.
_AT_ONCE = 2_000
_README = Path(__file__).with_name("README.md")


@dataclass(frozen=True)
class Case:
    """One kind of request.

    Args:
        server: of `bare.py`.
        requests: sent in turn.
        target: the least speed, as a ratio to the bare view.
    """

    name: str
    server: str
    requests: Sequence[bytes]
    target: float | None = None


@dataclass(frozen=True)
class World:
    """What is in the database: an organization with one tenant, one with twenty, and many keys of the first one."""

    one: str
    key: str
    twenty: str
    other_key: str
    keys: Sequence[str]


def cases(world: World) -> list[Case]:
    """Return what is measured; a new endpoint is a new line here."""
    body = b'{"key": "%s"}' % world.key.encode()
    form = b"token=%s" % world.key.encode()
    org, twenty = f"/orgs/{world.one}", f"/orgs/{world.twenty}"
    return [
        Case("empty WSGI application", "empty", [request("/")]),
        Case(BARE, "bare", [request("/")]),
        Case("/forward-auth/{name}", "mushu", [request("/forward-auth/bench-1", world.key)], 3.0),
        Case("POST /api-keys/verify", "mushu", [request("/api-keys/verify", world.key, body)], 2.3),
        Case("POST /oauth/introspect", "mushu", [request("/oauth/introspect", world.key, form, _FORM)], 2.3),
        Case("/health", "mushu", [request("/health")], 0.9),
        Case("guarded, does nothing", "mushu", [request("/bench", world.key)], 0.9),
        Case(f"the same, {len(world.keys):,} keys in turn", "mushu", [request("/bench", key) for key in world.keys]),
        Case("POST /api-keys/validate", "mushu", [request("/api-keys/validate", body=body)], 0.6),
        Case("/orgs/{org_id}", "mushu", [request(org, world.key)], 0.4),
        Case("/orgs/{org_id}/tenants, 1 row", "mushu", [request(f"{org}/tenants", world.key)], 0.4),
        Case("/orgs/{org_id}/tenants, 20 rows", "mushu", [request(f"{twenty}/tenants", world.other_key)], 0.25),
    ]


def request(path: str, key: str = "", body: bytes = b"", kind: str = "application/json") -> bytes:
    lines = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", "Host: localhost", "Accept: */*", "User-Agent: bench"]
    lines += [f"X-API-Key: {key}"] if key else []
    lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode() + body


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
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.bare", name],
                env=os.environ | environment | {"MUSHU_PORT": str(self.port)}, cwd=_README.parents[1],
                stdout=output, stderr=output,
            )  # fmt: skip
        while not self._listens():
            if self._process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.1)

    def cpu(self) -> float:
        """Return the CPU seconds of the main process and its workers, ended threads included."""
        main = self._process.pid
        workers = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        # The clock of another process has a number that the kernel makes of its id (clock_getcpuclockid in libc).
        return sum(time.clock_gettime((~process << 3) | 2) for process in (main, *map(int, workers)))

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True


def add_cost(cost: Cost, server: Server, requests: Sequence[bytes]) -> None:
    """Ask as often as in one slice, over connections that are kept; a refusal ends the program."""
    first, took = len(cost.took), []
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
                if not received[connection].startswith(b"HTTP/1.1 200"):
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
def running(names: Sequence[str], environment: dict[str, str], folder: Path) -> Iterator[dict[str, Server]]:
    servers: dict[str, Server] = {}
    try:
        for name in names:
            servers[name] = Server(name, environment, folder / f"{name}.log")
        yield servers
    finally:
        for server in servers.values():
            server.stop()


def make_world(settings: Settings, count: int) -> World:
    """Fill a new database, with so many keys."""
    core = Core(settings)
    with core_context(lambda: core.settings):
        migrate()
        one, key = organization(core, 1)
        twenty, other_key = organization(core, 20)
        table = ApiKey.__table__
        secrets = [generate(Prefix.LIVE_KEY).reveal() for _ in range(min(count, IN_TURN))]
        digests = iter([*map(digest_of, secrets), *(f"{random.getrandbits(256):064x}" for _ in range(count - IN_TURN))])
        with db.engine.begin() as connection:
            row = connection.execute(select(table).where(table.c.digest == digest_of(key))).mappings().one()
            while rows := [{**row, "id": public_id("key"), "digest": digest} for digest in islice(digests, _AT_ONCE)]:
                connection.execute(insert(table), rows)
    return World(one, key, twenty, other_key, secrets)


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="times that each case is measured (5)")
    parser.add_argument("--keys", type=int, default=1_000, help="keys in the database (1000)")
    parser.add_argument(
        "--database", default="", help="an empty PostgreSQL database, as in MUSHU_DATABASE_URL (SQLite)"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(instance_path=folder / "instance", database_url=given.database)
        measured = cases(make_world(settings, given.keys))
        environment = {
            "MUSHU_INSTANCE_PATH": str(settings.instance_path), "MUSHU_DATABASE_URL": given.database,
            "MUSHU_WORKERS": "1",
        }  # fmt: skip
        costs: dict[str, list[Cost]] = {case.name: [] for case in measured}
        with running(sorted({case.server for case in measured}), environment, folder) as servers:
            for number in range(given.rounds + 1):
                for case in measured:
                    costs[case.name].append(Cost())
                for _ in range(SLICES if number else 1):  # the first one is for what is made once
                    for case in random.sample(measured, len(measured)):
                        add_cost(costs[case.name][-1], servers[case.server], case.requests)
    table = "\n".join(lines(measured, costs))
    print(table)
    _README.write_text(page(table, given.rounds, given.keys, "PostgreSQL" if given.database else "SQLite"))


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


def page(table: str, rounds: int, keys: int, database: str) -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("granian", "flask", "sqlalchemy"))
    load = os.getloadavg()[1]
    return f"""# What a request costs

`script/bench` writes this page; it is not written by hand.

{table}

CPU is that of the server's processes, for each request. Medians of {rounds} rounds; ratios are taken within a round.
{database}, {keys:,} keys, one worker, {CONNECTIONS} connections, limits, log and usage as shipped.
{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {libraries}; {os.cpu_count()} cores, load {load:.1f}.

`python -m bench.hot_path` measures the same without a server, and with `--profile` it says where the time goes.
"""


if __name__ == "__main__":
    main()
