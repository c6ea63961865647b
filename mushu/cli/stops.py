"""One destination on this machine on the way of one key: what is asked of it, how patiently, and what is remembered."""

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Final, TypeVar

import click

from mushu.destination import Attempt, Destination, DestinationError, Receipt, Surroundings, open_destination
from mushu.keyformat import mask
from mushu.secret import Secret

Result = TypeVar("Result")
#: Says of a destination's URI and the digest of what it holds why that must stay, or None where it may be overwritten.
Objection = Callable[[str, str], str | None]

#: Seconds to wait before what may yet succeed is tried again.
_PAUSES: Final = (0.2, 0.8)
_NOT_OF_A_NAME: Final = re.compile(r"[^A-Z0-9]")


class Aftermath(Enum):
    """What a destination holds once a delivery was given up."""

    #: What it held before, or what somebody else wrote there since.
    AS_BEFORE = auto()
    #: Nothing, and it held something before.
    EMPTIED = auto()
    #: The key, as far as can be seen.
    NOT_TAKEN_BACK = auto()


@dataclass(slots=True)
class Stop:
    """A destination, and how far the delivery to it has come."""

    destination: Destination
    uri: str
    #: What the destination was at before: the condition of the write.
    expected_version: str = field(default="", init=False)
    #: SHA-256 of what it held before; None where that was nothing.
    former_digest: str | None = field(default=None, init=False)
    #: Something was sent, whatever came of it.
    attempted: bool = field(default=False, init=False)
    receipt: Receipt | None = field(default=None, init=False)

    def check(self, objection: Objection) -> None:
        """Make sure that a write would be allowed, and that nothing would be lost.

        Args:
            objection: judges what the destination holds.

        Raises:
            DestinationError: the reason; permanent.
            Failure: it could not be judged.
        """
        self._ask(self.destination.preflight)
        holding = self._ask(self.destination.read)
        reason = objection(self.uri, holding.digest) if holding.digest is not None else None
        if reason is not None:
            raise DestinationError(reason, permanent=True)
        self.expected_version, self.former_digest = holding.version, holding.digest

    def write(self, secret: Secret, attempt_id: str, key_id: str) -> None:
        """Write, until it is clear what came of it.

        Raises:
            DestinationError: it was refused, or it cannot be seen whether it arrived.
        """
        attempt = Attempt(attempt_id, key_id, self.expected_version)
        self.attempted = True
        self.receipt = patiently(lambda: self._ask(lambda: self.destination.write(secret, attempt)))

    def read_back(self, secret: Secret) -> str:
        """Return the digest of what the destination holds, which is the secret's.

        Raises:
            DestinationError: it holds something else, or could not be asked.
        """

        def read_once() -> str:
            digest = self._ask(self.destination.read).digest
            if digest is None or not secret.matches(digest):  # tried again: what was read may have been stale
                raise DestinationError(f"{self.uri} does not hold the key after the write.", permanent=False)
            return digest

        return patiently(read_once)

    def put_back(self, secret: Secret) -> Aftermath:
        """Restore what stood there before, or at least take the key away, and tell what came of it."""
        if not self.attempted:
            return Aftermath.AS_BEFORE
        receipt = self.receipt
        try:
            if receipt is not None and patiently(lambda: self._ask(lambda: self.destination.restore(receipt))):
                return Aftermath.AS_BEFORE
        except DestinationError:  # of a plugin that cannot restore, or that found its own earlier write
            pass
        try:
            patiently(lambda: self._ask(lambda: self.destination.remove(secret.digest())))
            left = patiently(lambda: self._ask(self.destination.read)).digest
        except DestinationError:
            return Aftermath.NOT_TAKEN_BACK
        if secret.matches(left):
            return Aftermath.NOT_TAKEN_BACK
        return Aftermath.EMPTIED if left is None and self.former_digest is not None else Aftermath.AS_BEFORE

    def _ask(self, act: Callable[[], Result]) -> Result:
        return guarded(act, f"{self.uri}: ")


def open_stops(uris: Sequence[str]) -> list[Stop]:
    """Return the destinations that the URIs name on this machine; nothing is touched.

    Raises:
        UsageError: one names none, or two the same.
    """
    found = [_opened(uri) for uri in uris]
    if len({stop.uri for stop in found}) < len(found):
        raise click.BadParameter("Two of these name the same place. Name each once.", param_hint="'--to'")
    return found


def guarded(act: Callable[[], Result], prefix: str = "") -> Result:
    """Call a plugin and let out nothing but a fresh `DestinationError` without a credential in it.

    Args:
        prefix: put before its sentence.

    A plugin is a stranger's code: its exceptions, and the tracebacks that hang on them, may hold the key.
    """
    try:
        return act()
    except DestinationError as error:
        sentence, permanent = mask(str(error)), error.permanent
    except Exception as error:
        sentence, permanent = f"The plugin failed ({type(error).__name__}). Tell whoever made it.", False
    raise DestinationError(prefix + sentence, permanent=permanent)


def patiently(act: Callable[[], Result]) -> Result:
    """Call what may raise `DestinationError` up to three times, for as long as its errors may pass."""
    for seconds in _PAUSES:
        try:
            return act()
        except DestinationError as error:
            if error.permanent:
                raise
        time.sleep(seconds)
    return act()


def _opened(uri: str) -> Stop:
    def opened() -> Stop:
        destination = open_destination(uri, _surroundings(uri))
        return Stop(destination, destination.uri)

    try:
        return guarded(opened)
    except DestinationError as error:
        raise click.BadParameter(str(error), param_hint="'--to'") from None


def _surroundings(uri: str) -> Surroundings:
    """Return what a plugin may know: this folder, and its own settings from `MUSHU_<SCHEME>_…`."""
    scheme = _NOT_OF_A_NAME.sub("_", uri.partition(":")[0].upper())
    prefix = f"MUSHU_{scheme}_"
    settings = {
        name.removeprefix(prefix).lower(): value for name, value in os.environ.items() if name.startswith(prefix)
    }
    return Surroundings(base=Path.cwd(), settings=settings)
