"""What a KV engine can do, of whichever version; and what is seen of one secret at one moment."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto

from mushu_vault.document import ABSENT, Document, Value


class Presence(Enum):
    """Whether there is a secret at a path."""

    #: Nothing, not even a history.
    NEVER = auto()
    #: Deleted or destroyed, with a history.
    GONE = auto()
    THERE = auto()


@dataclass(frozen=True, slots=True, repr=False)
class Look:
    """One secret at one moment."""

    presence: Presence
    #: What `Holding.version` becomes; differs whenever the value of our field differs.
    version: str
    #: The fields; empty where nothing is there.
    document: Document
    #: What our field holds.
    value: Value = ABSENT
    #: The version number that a compare-and-set names; 0 where there is none.
    number: int = 0
    #: The key id that the metadata names for our field; None where none is named.
    label: str | None = None


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
    def look(self) -> Look:
        """Return what the secret is now.

        Raises:
            DestinationError: it could not be found out.
        """

    @abstractmethod
    def formerly(self, version: str) -> Value | None:
        """Return what our field held at `version`, or None where nobody can tell.

        Raises:
            DestinationError: it could not be found out now.
        """

    @abstractmethod
    def replace(self, look: Look, value: Value) -> Outcome:
        """Put `value` into our field of what `look` saw, and leave its neighbours alone.

        Raises:
            DestinationError: certainly not done.
        """

    @abstractmethod
    def name(self, look: Look, key_id: str | None) -> None:
        """Have the metadata name the key, or none, where the engine has metadata and we may. Never fails."""

    @abstractmethod
    def lacking(self, presence: Presence | None, granted: Collection[str]) -> set[str]:
        """Return what of the capabilities on `data_path` is missing, the fewest that are enough.

        Args:
            presence: what is there now; None where that is not known.
        """
