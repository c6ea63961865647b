"""What pages of the dashboard cost, as a ratio to a bare Flask view in the same run, with few keys and with very many.

    .venv/bin/python -m bench.pages [--keys 50 5000 300000] [--rounds N]

Every key is active, and was used in one of the last 24 hours. A browser asks that has looked at the pages before. What
it costs where the figures are not kept is measured apart, for the page that counts them. It is of one process, in CPU
time; a ratio is the median of those within a round.
"""

import argparse
import gc
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from sqlalchemy import Engine, Table, func, insert, select

from bench.bare import bare
from bench.guarded import mushu
from bench.hot_path import asking, organization, page_of_keys
from mushu.keyformat import public_id
from mushu.server.clock import utc_now
from mushu.server.config import Settings
from mushu.server.core import Core, core_context, core_of, db
from mushu.server.kept_figures import KeptFigures
from mushu.server.keys.models import ApiKey
from mushu.server.operation.upgrading.migrations import migrate
from mushu.server.usage.engine import usage_engine
from mushu.server.usage.models import HOUR, KeyUse, UsagePeriod

Row = dict[str, object]

_BATCH = 5_000
#: Requests of one page in one round, and of the bare view.
_TIMES = 10
_TIMES_BARE = 200
#: CPU seconds of a page that is asked for once in a round.
_DEAR = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keys", type=int, nargs="*", default=[50, 5_000, 300_000], help="keys of each organization")
    parser.add_argument("--rounds", type=int, default=15, help="times that each page is measured (15)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = str(Path(folder) / "access.log")
        core = Core(Settings(instance_path=Path(folder) / "instance", access_log_file=log))
        with core_context(lambda: core.settings):
            migrate()
        app = mushu(core)
        pages: dict[str, Callable[[], None]] = {}
        counting: dict[str, Callable[[], None]] = {}
        for place, many in enumerate(given.keys):
            with app.app_context():
                org_id, _ = organization(core, place + 1)
                cookie = page_of_keys(app, org_id)
                key_id = add_keys(org_id, many)
                db.session.remove()
            home = f"/dashboard/{org_id}"
            for name, path in (
                ("keys", "/keys"),
                ("active keys", "/keys?state=active"),
                ("one key", f"/keys/{key_id}"),
                ("Home", "/"),
            ):
                pages[f"{name}, {many:,}"] = asking(app, home + path, cookie=cookie)
            counting[f"keys, {many:,}"] = pages[f"keys, {many:,}"]
        compare(pages, given.rounds)
        for name, ask in counting.items():
            core_of(app).__dict__["figures"] = KeptFigures()
            began, used = time.perf_counter(), cost(ask, 1)
            took = time.perf_counter() - began
            print(f"{name:20} {used * 1e3:9.1f} ms where the figures are counted, answered after {took * 1e3:.1f} ms")


def compare(pages: dict[str, Callable[[], None]], rounds: int) -> None:
    floor = asking(bare(), "/")
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in pages}
    once = {}
    for name in (*pages, *pages):  # figures of many keys are kept the second time
        once[name] = cost(pages[name], 1)
    gc.freeze()  # as a worker of the server does when it begins
    for _ in range(rounds):
        least = cost(floor, _TIMES_BARE)
        for name in random.sample([*pages], len(pages)):
            costs[name].append((cost(pages[name], _TIMES if once[name] < _DEAR else 1), least))
    print(f"{f'median of {rounds} rounds':20} {'CPU ms':>9} {'x bare':>8}")
    for name, taken in costs.items():
        ratio = statistics.median(own / least for own, least in taken)
        print(f"{name:20} {statistics.median(own for own, _ in taken) * 1e3:9.2f} {ratio:8.1f}")


def cost(ask: Callable[[], None], times: int) -> float:
    """Return the CPU seconds that one request takes."""
    before = time.process_time()
    for _ in range(times):
        ask()
    return (time.process_time() - before) / times


def add_keys(org_id: str, many: int) -> str:
    """Have the organization have so many keys, and each of them be used; return the id of one."""
    keys, now = table_of(ApiKey), utc_now()
    with db.engine.begin() as connection:
        mine = select(keys).where(keys.c.org_id == org_id, keys.c.name.startswith("backend"))
        row = dict(connection.execute(mine).mappings().all()[0])
        there = connection.execute(select(func.count()).select_from(keys).where(keys.c.org_id == org_id)).scalar_one()
    seconds = iter(range(many - there, 0, -1))
    while some := [*islice(seconds, _BATCH)]:
        made = {public_id("key"): now - timedelta(days=2, seconds=second) for second in some}
        rows = [row | {"id": key_id, "digest": random_digest(), "created_at": at} for key_id, at in made.items()]
        insert_all(db.engine, keys, rows)
        used = {key_id: now - timedelta(seconds=random.randrange(23 * HOUR)) for key_id in made}
        insert_all(usage_engine(db.engine), table_of(KeyUse), [use_of(*one) for one in used.items()])
        insert_all(usage_engine(db.engine), table_of(UsagePeriod), [hour_of(*one) for one in used.items()])
    return str(row["id"])


def random_digest() -> str:
    return f"{random.getrandbits(256):064x}"


def use_of(key_id: str, at: datetime) -> Row:
    source = "203.0.113.7"
    return {"key_id": key_id, "first_used_at": at, "last_used_at": at, "last_used_from": source, "requests": 3}


def hour_of(key_id: str, at: datetime) -> Row:
    start = at.replace(minute=0, second=0, microsecond=0)
    return {"key_id": key_id, "seconds": HOUR, "start": start, "requests": 3, "denials": 0, "last_used_at": at}


def insert_all(engine: Engine, table: Table, rows: list[Row]) -> None:
    with engine.begin() as connection:
        connection.execute(insert(table), rows)


def table_of(model: type[ApiKey | KeyUse | UsagePeriod]) -> Table:
    return model.metadata.tables[model.__tablename__]


if __name__ == "__main__":
    main()
