"""Waiting with a sign of life, where there is a terminal to show it on."""

import itertools
import os
import sys
import time
from typing import Final

_FRAMES: Final = "|/-\\"
_STEP: Final = 0.1
_CLEAR_LINE: Final = "\r\033[K"


class Spinner:
    """Turns on standard error while `wait` waits; elsewhere it only waits."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._frames = itertools.cycle(_FRAMES)

    def wait(self, seconds: float) -> None:
        if not self._shown:
            time.sleep(seconds)
            return
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            sys.stderr.write(f"\r{next(self._frames)} {self._what}")
            sys.stderr.flush()
            time.sleep(min(_STEP, left))
        sys.stderr.write(_CLEAR_LINE)
        sys.stderr.flush()
