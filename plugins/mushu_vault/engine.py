"""What a KV engine can do, of either version, and compare-and-set with any of them.

A change is made to the version that was read, or not at all. The outcome of a write is one of three:

written   the receipt
moved     the secret has another version: read again; if our field is as before, only a neighbour changed, so try again
unclear   read again: if the value is there, it was written; if not, or nobody answers, it may still arrive

A refusal raises, and nothing was written. May not ask a server itself.
"""

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Final

from mushu.destination import DestinationError
from mushu_vault.json_object import ABSENT, FieldValue, JsonObject


class Presence(Enum):
    """Whether there is a secret at a path."""

    #: Nothing, not even a history.
    NEVER = auto()
    #: Deleted or destroyed, with a history.
    GONE = auto()
    THERE = auto()


@dataclass(frozen=True, slots=True, repr=False)
class StoredSecret:
    """One secret at one moment."""

    presence: Presence
    #: What `Holding.version` becomes; differs whenever the value of our field differs.
    version: str
    #: The fields; empty where nothing is there.
    document: JsonObject
    #: What our field holds.
    value: FieldValue = ABSENT
    #: The version number that a compare-and-set names; 0 where there is none.
    number: int = 0
    #: The key id that the metadata names for our field; None where none is named.
    label: str | None = None
    #: When the server deletes this version by itself; None where it does not.
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """It was done."""

    version: str


@dataclass(frozen=True, slots=True)
class Moved:
    """It was not done: the secret is no longer at the version that was looked at."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """It may have been done."""

    reason: str


Outcome = Written | Moved | Unclear


class Engine(ABC):
    """One secret in one KV engine, for one operation."""

    #: The path below `/v1/` that data is read from and written to; the one that a policy names.
    data_path: str

    @abstractmethod
    def look(self) -> StoredSecret:
        """Return what the secret is now.

        Raises:
            DestinationError: it could not be found out.
        """

    @abstractmethod
    def formerly(self, version: str) -> FieldValue | None:
        """Return what our field held at `version`, or None where nobody can tell.

        Raises:
            DestinationError: it could not be found out now.
        """

    @abstractmethod
    def replace(self, stored: StoredSecret, value: FieldValue) -> Outcome:
        """Put `value` into our field of `stored`, and leave its neighbours alone.

        Raises:
            DestinationError: certainly not done.
        """

    @abstractmethod
    def name(self, stored: StoredSecret, key_id: str | None) -> bool:
        """Have the metadata name the key, or none; tell whether it does, where the engine has any. Never fails."""

    @abstractmethod
    def has_metadata(self) -> bool:
        """Tell whether a path without a secret has metadata, as far as we may see that: a write there is an update."""

    @abstractmethod
    def lacking(self, presence: Presence | None, granted: Collection[str]) -> set[str]:
        """Return what of the capabilities on `data_path` is missing, the fewest that are enough.

        Args:
            presence: what is there now; None where that is not known.
        """


# Each try that fails is somebody else's success, so this many neighbours can write at once.
_TRIES: Final = 20
# Seconds; different for each writer, or they would meet again.
_LONGEST_PAUSE: Final = 0.03


@dataclass(frozen=True, slots=True)
class Changed:
    """What was made, and to what."""

    before: StoredSecret
    version: str


def change(engine: Engine, stored: StoredSecret, wanted: FieldValue) -> Changed | StoredSecret:
    """Put `wanted` into our field of `stored`.

    Returns:
        The change, or what was found instead, if our field was changed by somebody else.

    Raises:
        DestinationError: permanent, and it was not done; or not permanent, and it may have been.
    """
    former = stored.value.digest
    for _ in range(_TRIES):
        outcome = engine.replace(stored, wanted)
        if isinstance(outcome, Written):
            return Changed(stored, outcome.version)
        if isinstance(outcome, Unclear):
            return Changed(stored, _settled(engine, wanted, outcome))
        time.sleep(random.uniform(0, _LONGEST_PAUSE))  # noqa: S311 - nothing depends on it that is secret
        stored = engine.look()
        if stored.value.digest != former:
            return stored
    raise DestinationError(
        f"{engine.data_path} was changed by others every time it was about to be written, {_TRIES} times. Try again.",
        permanent=False,
    )


def _settled(engine: Engine, wanted: FieldValue, outcome: Unclear) -> str:
    """Return the version at which `wanted` is found after all.

    Raises:
        DestinationError: it is not there, or cannot be seen; not permanent, because it may still arrive.
    """
    problem = None
    try:
        stored = engine.look()
    except DestinationError as error:
        problem = f"Whether it was written is not known: {error}"
    if problem is None and stored.value.digest != wanted.digest:
        problem = "So far, it is not there. Try again."
    if problem is not None:
        raise DestinationError(f"{outcome.reason} {problem}", permanent=False)
    return stored.version
