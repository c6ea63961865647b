"""Compare-and-set: a change is made to what was looked at, or not at all; and an unclear answer is no answer.

done                  the receipt
another version       look again: if our field is as before, only a neighbour moved, so try again; else stop
unclear               look: if the value is there, it was done; if not, or nobody answers, it may yet be
refused               certainly not done
"""

import random
import time
from dataclasses import dataclass
from typing import Final

from mushu.destination import DestinationError
from mushu_vault.document import Value
from mushu_vault.engine import Engine, Look, Unclear, Written

# Each try that fails is somebody else's success, so this many neighbours can write at once.
_TRIES: Final = 20
# Seconds; different for each writer, or they would meet again.
_LONGEST_PAUSE: Final = 0.03


@dataclass(frozen=True, slots=True)
class Change:
    """What was made, and to what."""

    before: Look
    version: str


def change(engine: Engine, look: Look, wanted: Value) -> Change | Look:
    """Put `wanted` into our field of what `look` saw.

    Returns:
        The change, or what was found instead, if our field was changed by somebody else.

    Raises:
        DestinationError: permanent, and it was not done; or not permanent, and it may have been.
    """
    standing = look.value.digest
    for _ in range(_TRIES):
        outcome = engine.replace(look, wanted)
        if isinstance(outcome, Written):
            return Change(look, outcome.version)
        if isinstance(outcome, Unclear):
            return Change(look, _settled(engine, wanted, outcome))
        time.sleep(random.uniform(0, _LONGEST_PAUSE))  # noqa: S311 - nothing depends on it that is secret
        look = engine.look()
        if look.value.digest != standing:
            return look
    raise DestinationError(
        f"{engine.data_path} was changed by others every time it was about to be written, {_TRIES} times. Try again.",
        permanent=False,
    )


def _settled(engine: Engine, wanted: Value, outcome: Unclear) -> str:
    """Return the version at which `wanted` is found after all.

    Raises:
        DestinationError: it is not there, or cannot be seen; not permanent, because it may still arrive.
    """
    trouble = None
    try:
        look = engine.look()
    except DestinationError as error:
        trouble = f"Whether it was written is not known: {error}"
    if trouble is None and look.value.digest != wanted.digest:
        trouble = "So far, it is not there. Try again."
    if trouble is not None:
        raise DestinationError(f"{outcome.reason} {trouble}", permanent=False)
    return look.version
