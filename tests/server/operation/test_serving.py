"""A worker and its main process: what the one does when the other is gone. The real ones are in `tests/e2e`."""

import signal
import subprocess
import sys
from pathlib import Path

#: Seconds after which something that must happen has not; nothing here waits for it to pass.
_LONG = 60

#: A worker that is still loading, and whose main process has just ended: nobody else holds the pipe.
_LOADING = """
import signal, time
from multiprocessing import Pipe
from mushu.server.operation.serving import load_in_worker
from mushu.server.operation.serving import StalledConnections
signal.signal(signal.SIGTERM, lambda *_: None)  # as a forked worker has it from Granian's main process
ended, alive = Pipe(duplex=False)
load_in_worker(ended, alive, StalledConnections(1, 60, 1), lambda: time.sleep(600))
"""

#: One whose main process goes on.
_LOADED = """
import gc, os
from multiprocessing import Pipe
from mushu.server.operation.serving import load_in_worker
from mushu.server.operation.serving import StalledConnections
ended, alive = Pipe(duplex=False)
kept = os.dup(alive.fileno())
loaded = load_in_worker(ended, alive, StalledConnections(1, 60, 1), lambda: [["made"]])
print(loaded, any(one is loaded for one in gc.get_objects()))
"""


def test_what_a_worker_is_made_of_is_not_looked_through_for_garbage(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _LOADED], cwd=tmp_path, timeout=_LONG, capture_output=True, text=True)
    assert done.stdout == "[['made']] False\n"


def test_a_worker_that_is_still_loading_ends_by_the_signal_and_waits_for_nothing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _LOADING], cwd=tmp_path, timeout=_LONG, capture_output=True, text=True)
    assert done.returncode == -signal.SIGTERM
    assert "the main process has ended" in done.stderr
