"""What a destination is: the class that a plugin derives from, and what goes in and out of it. Standard library only.

Nothing here calls a plugin: `registry` finds one, `safe` calls it, `target` delivers to it.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final, Self

from mushu.secret import Secret

#: The field or variable that a key is written to where the URI names none.
DEFAULT_FIELD: Final = "MUSHU_API_KEY"

#: The field or variable beside it from which clients learn the address of the server.
URL_FIELD: Final = "MUSHU_URL"


class DestinationError(Exception):
    """A destination cannot do what it was asked, and the message tells the operator why and the way out.

    Args:
        message: one or two sentences for a person; never holds a value of the destination.
        permanent: True when trying again cannot help (a refusal, a bad URI), False when it may (a timeout).
    """

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


class Conflict(DestinationError):
    """The destination no longer holds what the caller expected; nothing was written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, permanent=True)


class Denied(DestinationError):
    """The destination answers, and does not let us: a policy of the store, the mode of a file; nothing was written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, permanent=True)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a plugin may know of where it runs: never the app, never another plugin."""

    #: Folder that relative paths are resolved against.
    base: Path
    #: The plugin's own settings, by name in lower case (`MUSHU_VAULT_TIMEOUT` arrives as `timeout`).
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)  # there are tokens among them


@dataclass(frozen=True, slots=True)
class Label:
    """Which key a destination names beside a value, for people who look there; a name can be older than the value."""

    #: `Attempt.key_id` of the write that put it there.
    key_id: str
    #: How an operator corrects it, in sentences.
    correction: str


@dataclass(frozen=True, slots=True)
class Holding:
    """What a destination holds at one moment."""

    #: Opaque to all but the plugin, and about this one value: a change of its neighbours is no conflict. It differs
    #: whenever the value differs; it may differ more often.
    version: str
    #: SHA-256 of the value in hexadecimal, or None where there is no value or an empty one.
    digest: str | None
    #: None where no key is named beside the value, or the destination does not tell.
    label: Label | None = None
    #: What an operator should know of a value that is there, such as that it ends soon: each a sentence.
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to deliver one key."""

    #: Unique to the try: a plugin may keep it beside the value to recognise its own write.
    attempt_id: str
    #: The public id of the key, which may be shown beside the value (as metadata, in a comment). Empty where the
    #: value is no key, and only belongs beside one.
    key_id: str
    #: The version that `read` answered before: the compare-and-set condition of the write.
    expected_version: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of one write, and what is needed to undo it while this process lives."""

    #: The version that the write produced.
    version: str
    #: SHA-256 of what was written.
    digest: str
    #: Whatever the plugin needs to put the former state back; lives in memory only and never reaches the database.
    #: None where the call found its own value and wrote nothing: there is nothing to go back to, and `restore` says so.
    undo: Secret | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """Where a URI leads to, here and now. Two that differ in their identity are two places, though the URI is one."""

    #: What tells it from another, for a person to read: `cluster 8f0c…, namespace team-a`, `machine 2b7e…`. Stored,
    #: compared and shown, so no credential. The same for as long as it leads to the same values, whoever asks. Empty
    #: where the plugin does not tell: then nothing found there is proof about a place that has an identity.
    identity: str = ""
    #: How an operator gets there, as the end of the sentence "Run this again …": `with VAULT_ADDR=https://vault:8200`.
    directions: str = ""


class Destination(ABC):
    """One place that can hold one key. Instances are cheap, hold no connection open, and touch nothing when made."""

    #: The URI scheme, equal to the name of the entry point.
    scheme: ClassVar[str]

    #: The names of all settings that the plugin reads, as in `Surroundings.settings`. With another, no place is given a
    #: name: a mistyped setting would be one that nobody obeys. None: the plugin does not say, and any are taken.
    known_settings: ClassVar[Collection[str] | None] = None

    @classmethod
    @abstractmethod
    def parse(cls, uri: str, surroundings: Surroundings) -> Self | None:
        """Return the destination that `uri` names, or None when its scheme is another's. Touches nothing.

        Raises:
            DestinationError: the scheme is this plugin's and the rest is wrong; permanent.
        """

    @property
    @abstractmethod
    def uri(self) -> str:
        """The one spelling of this destination: absolute, free of secrets, accepted by `parse` wherever it is run."""

    def location(self) -> Location:
        """Return where this URI leads to now, such that what is absent elsewhere is not taken to be absent there.

        A plugin whose URIs name one place wherever they are opened leaves this as it is. One that takes a server, a
        namespace or a machine from its surroundings names those that the URI does not. Changes nothing.

        Raises:
            DestinationError: it could not be found out.
        """
        return Location()

    def beside(self, name: str) -> Self | None:
        """Return `name` in the same container: another variable of the file, another field of the secret.

        What a client needs besides the key is put there, such as the address of its server; a key is not. None, as
        here, where a container has room for one value. Touches nothing.

        Raises:
            DestinationError: the container cannot have this name; permanent.
        """
        del name
        return None

    @abstractmethod
    def preflight(self) -> None:
        """Make sure that a write would be allowed, without writing.

        Raises:
            DestinationError: what is in the way, and what to do about it.
        """

    @abstractmethod
    def read(self) -> Holding:
        """Return what the destination holds now, as a digest and a version: the value itself is never returned.

        Where the container itself (a folder, a path in a store) is missing, the value is absent.

        Raises:
            DestinationError: it could not be found out; never raised for a value that is simply absent.
        """

    @abstractmethod
    def write(self, secret: Secret, attempt: Attempt) -> Receipt:
        """Store `secret` if the destination is still at `attempt.expected_version`; leave its neighbours alone.

        All or nothing, also when the process is killed. Called again with the same secret after an unclear outcome, it
        finds its own value and answers a receipt without writing a second time.

        Raises:
            Conflict: the destination is at another version and does not hold `secret`.
            DestinationError: if `permanent`, certainly not written; else possibly: the caller reads to find out.
        """

    @abstractmethod
    def restore(self, receipt: Receipt) -> bool:
        """Put back what stood there before the write of `receipt`, if its digest is still what is held.

        Returns:
            True if the former state is back, False if something else is held now and nothing was touched.

        Raises:
            DestinationError: it could not be done.
        """

    @abstractmethod
    def remove(self, digest: str) -> bool:
        """Take the value away if its SHA-256 is `digest`.

        Returns:
            True if it was removed, False if something else or nothing is held and nothing was touched.

        Raises:
            DestinationError: it could not be done.
        """
