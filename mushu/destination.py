"""The contract between Mushu and the places that keys are delivered to. Standard library only.

A destination plugin is a package with one class derived from `Destination` and one entry point in the group
`mushu.destinations`, whose name is the URI scheme it serves:

    [options.entry_points]
    mushu.destinations =
        vault = mushu_vault:VaultDestination

The plugin imports this module and its own library, nothing else of Mushu. `mushu.testing` is the suite it must pass.
The protocol that calls a destination, and what it makes of each answer, stands in `mushu/server/delivery/`.
"""

import difflib
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import ClassVar, Final, Self
from urllib.parse import unquote

from mushu.children import child_environment
from mushu.keyformat import CREDENTIAL_PATTERN
from mushu.secret import Secret, digest_of

__all__ = [
    "DEFAULT_FIELD",
    "ENTRY_POINT_GROUP",
    "Attempt",
    "Conflict",
    "Denied",
    "Destination",
    "DestinationError",
    "Holding",
    "Receipt",
    "Secret",
    "Surroundings",
    "child_environment",
    "digest_of",
    "installed_schemes",
    "open_destination",
    "refuse_unknown_settings",
]

ENTRY_POINT_GROUP: Final = "mushu.destinations"

#: The field or variable that a key is written to where the URI names none.
DEFAULT_FIELD: Final = "MUSHU_API_KEY"

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):")
_USER_INFO = re.compile(r"[^:/?#]*://[^/?#]*@")


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
class Holding:
    """What a destination holds at one moment."""

    #: Opaque to all but the plugin, and about this one value: a change of its neighbours is no conflict. It differs
    #: whenever the value differs; it may differ more often.
    version: str
    #: SHA-256 of the value in hexadecimal, or None where there is no value or an empty one.
    digest: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to deliver one key."""

    #: Unique to the try: a plugin may keep it beside the value to recognise its own write.
    attempt_id: str
    #: The public id of the key, which may be shown beside the value (as metadata, in a comment).
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


def installed_schemes() -> list[str]:
    """Return the schemes of all installed destination plugins, sorted; none of them is imported."""
    return sorted({entry_point.name for entry_point in entry_points(group=ENTRY_POINT_GROUP)})


def refuse_unknown_settings(kind: type[Destination], names: Collection[str]) -> None:
    """Make sure that a plugin reads all of these settings, as far as it says which it reads.

    Raises:
        DestinationError: it does not know one; the sentence names that, the nearest that is known, and all; permanent.
    """
    known = kind.known_settings
    for name in sorted(names):
        if known is None or name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1)
        guess = f" Did you mean {near[0]}?" if near else ""
        read = f"It reads {', '.join(sorted(known))}." if known else "It reads none."
        raise DestinationError(f"{kind.scheme}: has no setting {name}.{guess} {read}", permanent=True)


def holds_credential(uri: str) -> bool:
    """Tell whether something that opens a place stands in `uri`, which is shown to everybody."""
    return bool(CREDENTIAL_PATTERN.search(unquote(uri)) or _USER_INFO.match(uri))


def open_destination(uri: str, surroundings: Surroundings) -> Destination:
    """Return the destination that `uri` names, loading only the plugin of its scheme.

    Raises:
        DestinationError: no plugin for the scheme, a credential in the URI, or a fault that the plugin finds with it;
            permanent.
    """
    if holds_credential(uri):
        del uri  # or a traceback that is printed with locals shows it
        raise DestinationError(
            "There is a credential in this URI. Treat it as leaked: what is written on a command line can be read by "
            "others. A destination names only a place; what opens that place is set as its plugin says.",
            permanent=True,
        )
    found = _SCHEME.match(uri)
    plugins = entry_points(group=ENTRY_POINT_GROUP, name=found.group(1)) if found else ()
    for plugin in plugins:
        destination: Destination | None = plugin.load().parse(uri, surroundings)
        if destination is not None:
            return destination
    known = ", ".join(f"{scheme}:" for scheme in installed_schemes()) or "none"
    # The URI is not repeated: a person who mixes up two arguments may have pasted a key here.
    raise DestinationError(
        f"No destination plugin takes this URI. It must begin with the scheme of an installed plugin ({known}), "
        f"for example env:/srv/app/.env#{DEFAULT_FIELD}.",
        permanent=True,
    )
