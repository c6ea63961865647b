"""How far a test goes: a short form in every run, a long one with `script/test --long`.

The short form tries the same things in every run. The long one draws them from a seed, which the report prints;
MUSHU_TEST_SEED=… repeats a run.
"""

import os
import secrets
from typing import Final

LONG: Final = os.environ.get("MUSHU_TEST_LONG") == "1"
#: For what is drawn at random. Set in the environment, so that all processes of a run share it.
SEED: Final = int(os.environ.setdefault("MUSHU_TEST_SEED", str(secrets.randbelow(2**32) if LONG else 0)))


def times(short: int, long: int) -> int:
    """Return how often something is tried in this run."""
    return long if LONG else short
