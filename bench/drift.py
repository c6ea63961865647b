"""How much sooner `flask keys check` is done because it reads destinations side by side, as a ratio in the same run.

    .venv/bin/python bench/drift.py [DESTINATIONS]

Each destination takes 20 ms to answer, as one across a network does; database, ledger and checker are real.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mushu.destination import Holding, Location
from mushu.keyformat import public_id
from mushu.server.audit import SYSTEM
from mushu.server.clock import utc_now
from mushu.server.config import Settings
from mushu.server.core import core_context, db
from mushu.server.db import writing
from mushu.server.delivery import drift
from mushu.server.delivery.activation import activate
from mushu.server.delivery.ledger import open_delivery
from mushu.server.delivery.models import Condition, DeliveryState
from mushu.server.keys.minting import KeyRequest, mint_key
from mushu.server.operation.upgrading.migrations import migrate
from mushu.server.orgs.service import create_org
from mushu.server.users.service import create_user

TAKES = 0.02
ROUNDS = 3


class Slow:
    """Holds one key, and takes its time to say so."""

    def __init__(self, digest: str) -> None:
        self.uri = f"slow:{digest}"
        self.digest = digest

    def location(self) -> Location:
        return Location()

    def read(self) -> Holding:
        time.sleep(TAKES)
        return Holding(version="1", digest=self.digest)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(instance_path=Path(folder) / "instance")
        with core_context(lambda: settings):
            migrate()
            held = deliver(count)
            checker = drift.DriftChecker(db.session, utc_now, lambda uri: Slow(held[uri]))  # type: ignore[arg-type,return-value]
            times: dict[int, list[float]] = {1: [], drift.AT_ONCE: []}
            for _ in range(ROUNDS):  # in turn, so that a slow moment of the machine hits both
                for width, taken in times.items():
                    with side_by_side(width):
                        began = time.perf_counter()
                        results = list(checker.check(drift.KeyFilter()))
                        taken.append(time.perf_counter() - began)
                    assert [look.condition for look in results] == [Condition.OK] * count
    alone, together = (statistics.median(taken) for taken in times.values())
    print(f"{count} destinations of {TAKES * 1000:.0f} ms each, median of {ROUNDS} runs")
    print(f"one after another     {alone:6.2f} s")
    print(f"{drift.AT_ONCE} side by side       {together:6.2f} s")
    print(f"ratio                 {alone / together:6.1f}")


def deliver(count: int) -> dict[str, str]:
    """Write a ledger of keys that were delivered, one to each destination; return digests by URI."""
    held: dict[str, str] = {}
    with writing(db.session):
        owner = create_user(db.session, utc_now, SYSTEM, "ada@example.com")
        org_id = create_org(db.session, utc_now, SYSTEM, "acme", owner.id).id
        for number in range(count):
            minted, _ = mint_key(db.session, utc_now, SYSTEM, KeyRequest(org_id=org_id, name=public_id("k")))
            key = activate(db.session, utc_now, SYSTEM, minted.id)
            now, uri = utc_now(), f"slow:{number}"
            delivery = open_delivery(key.id, uri, Location(), "0", now, now, SYSTEM)
            delivery.state, delivery.version, delivery.verified_at = DeliveryState.VERIFIED, "1", now
            db.session.add(delivery)
            held[uri] = key.digest
    return held


@contextmanager
def side_by_side(width: int) -> Iterator[None]:
    usual, drift.AT_ONCE = drift.AT_ONCE, width  # type: ignore[misc]
    try:
        yield
    finally:
        drift.AT_ONCE = usual  # type: ignore[misc]


if __name__ == "__main__":
    main()
