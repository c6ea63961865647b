"""What one verification of a key costs in Mushu and in its peers, in CPU of one process, in interleaved rounds.

    script/bench --peers [--rounds N]

Each is what its documentation begins with, on an SQLite file, with one key that is verified again and again. The peers
are installed into scratch environments, from PyPI and npm; their versions stand below. keyshield and better-auth write
the last use of a key at each verification; Mushu counts it in a mapped file; djangorestframework-api-key keeps none.
"""

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_HERE = Path(__file__).parent
_PYTHON_PEERS = (
    "keyshield[sqlalchemy,argon2,aiocache]==2.0.1",
    "sqlalchemy[asyncio]",
    "aiosqlite",
    "djangorestframework",
    "djangorestframework-api-key==3.1.0",
    "django<6",
)
_NODE_PEERS = ("better-auth@1.7.5", "@better-auth/api-key@1.7.5", "@better-auth/utils@0.4.2", "better-sqlite3@12.11.1")


@dataclass(frozen=True)
class Peer:
    """One way to verify a key.

    Args:
        count: verifications of one round: as many as take some tenths of a second.
    """

    name: str
    script: str
    count: int
    kind: str = "plain"


PEERS = (
    Peer("Mushu, the gate's cache", "with_mushu.py", 20_000, "cached"),
    Peer("Mushu, a read each time", "with_mushu.py", 5_000, "read"),
    Peer("keyshield 2.0.1", "with_keyshield.py", 5),
    Peer("keyshield 2.0.1, its cache", "with_keyshield.py", 100, "cached"),
    Peer("djangorestframework-api-key 3.1.0", "with_rest_framework.py", 500),
    Peer("better-auth 1.7.5", "with_better_auth.mjs", 200),
)


class Running:
    """A process that verifies as often as it is told, and says the CPU seconds."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment, cwd=folder
        )

    def cost(self, count: int) -> float:
        """Return the CPU seconds of one verification."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline()
        if not said:
            raise SystemExit(f"{self._process.args!r} has ended with {self._process.wait()}")
        return float(said) / count

    def stop(self) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(30)


@contextmanager
def running(folder: Path) -> Iterator[dict[str, Running]]:
    """Install the peers into a folder, and have all of them ready."""
    python = folder / "python" / "bin" / "python"
    venv.create(folder / "python", with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *_PYTHON_PEERS], check=True)
    node = folder / "node"
    node.mkdir()
    install = ["npm", "install", "--silent", "--legacy-peer-deps", "--no-audit", "--no-fund", *_NODE_PEERS]
    subprocess.run(install, check=True, cwd=node)
    with ExitStack() as stack:
        started = {}
        for number, peer in enumerate(PEERS):
            script, of_node = _HERE / peer.script, peer.script.endswith(".mjs")
            if of_node:  # it finds its packages beside itself
                script = node / script.name
                script.write_text((_HERE / peer.script).read_text())
            own = sys.executable if "mushu" in peer.script else python
            command = ["node", str(script)] if of_node else [str(own), str(script)]
            database = folder / str(number) / "keys.sqlite3"
            database.parent.mkdir()
            environment = {"PYTHONPATH": str(_HERE.parents[1])} if "mushu" in peer.script else {}
            started[peer.name] = Running([*command, str(database), peer.kind], environment, database.parent)
            stack.callback(started[peer.name].stop)
        yield started


def compare(folder: Path, rounds: int) -> str:
    """Return a table of what each costs."""
    costs: dict[str, list[float]] = {peer.name: [] for peer in PEERS}
    with running(folder) as processes:
        for number in range(rounds + 1):
            for peer in random.sample(PEERS, len(PEERS)):
                cost = processes[peer.name].cost(peer.count)
                if number:  # the first one is for what is made once
                    costs[peer.name].append(cost)
    ours = costs[PEERS[0].name], costs[PEERS[1].name]
    lines = ["| verification | CPU µs | × Mushu's | × Mushu's, a read each time |", "|---|--:|--:|--:|"]
    for peer in PEERS:
        cached, read = (
            statistics.median(theirs / own for theirs, own in zip(costs[peer.name], mine, strict=True)) for mine in ours
        )
        lines.append(
            f"| {peer.name} | {statistics.median(costs[peer.name]) * 1e6:,.1f} | {cached:,.1f} | {read:,.1f} |"
        )
    return "\n".join(lines)


def page(table: str, rounds: int) -> str:
    return f"""# What one verification costs, here and elsewhere

`script/bench --peers` writes this page; it is not written by hand.

{table}

CPU of one process, without a server around it. Medians of {rounds} interleaved rounds; ratios are taken within a round.
One key, SQLite, each as its documentation begins. keyshield hashes with Argon2, and its random pause is left out.
keyshield and better-auth write the last use of the key each time, Mushu counts it, djangorestframework-api-key keeps
none. A program of Node.js is beside Python ones: its ratio says what is paid, and not which code is better.
{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}; {os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench --peers", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="times that each is measured (5)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = compare(Path(folder), given.rounds)
    print(table)
    (_HERE / "README.md").write_text(page(table, given.rounds))


if __name__ == "__main__":
    main()
