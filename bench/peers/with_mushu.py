"""Verifies keys with Mushu's gate and SQLite, counted as they are when they are served: for `compare.py`.

    with_mushu.py DATABASE read | cached

`read` asks the database each time; `cached` lets the gate's cache answer while nothing was committed.
"""

import sys
import time
from pathlib import Path
from typing import cast
from unittest.mock import patch

from bench.hot_path import organization
from mushu.environment import Environment
from mushu.server.app import create_app
from mushu.server.config import Settings
from mushu.server.core import Core, core_context, gate_reader_in
from mushu.server.gate import KeyPrincipal
from mushu.server.gate.credential import read_headers
from mushu.server.gate.decision import report
from mushu.server.gate.principal import identify_by
from mushu.server.keys import Scope
from mushu.server.operation.upgrading.migrations import migrate
from mushu.server.web.extensions import recorder_of

database, kind = sys.argv[1:]
core = Core(Settings(instance_path=Path(database).parent / f"instance-{kind}"))
with core_context(lambda: core.settings):
    migrate()
if kind == "read":
    patch("mushu.server.gate.cache.WalStamp", side_effect=OSError).start()
app = create_app(core)
with app.app_context():
    key = organization(core, 1)[1]
reader, recorder = gate_reader_in(Environment.LIVE, app), recorder_of(app)
asker = cast(KeyPrincipal, identify_by(reader, core.clock(), read_headers, None, key).principal)


def verify() -> None:
    now = core.clock()
    found = report(reader, now, asker, key, Scope.READ)
    assert found.key_id is not None
    assert found.code is None
    recorder.saw(found.key_id, now, "192.0.2.7")


verify()
while line := sys.stdin.readline():
    before = time.process_time()
    for _ in range(int(line)):
        verify()
    print(time.process_time() - before, flush=True)
recorder.close()
