"""A destination that one key is delivered to: checked, written to, read back, and put back as it was.

The order of the calls, and what is committed between them, is the caller's: the server, the `mushu` command, the kit.
"""

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self, TypeVar

from mushu.destination.contract import URL_FIELD, Attempt, DestinationError, Holding, Location, Receipt
from mushu.destination.registry import OpenDestination
from mushu.destination.safe import Pause, SafeDestination, guarded, patiently
from mushu.secret import Secret

Answer = TypeVar("Answer")


def open_safely(open_destination: OpenDestination, uri: str) -> SafeDestination:
    """Open the destination that a URI names, to look at it or to take a value away; nothing is touched.

    Raises:
        DestinationError: it names none, or what opens it cannot be had at the moment.
    """
    return SafeDestination(guarded(lambda: open_destination(uri)))


def put_url_beside(open_destination: OpenDestination, uri: str, url: str) -> str | None:
    """Write the address of the server into the container of a key, for clients to find. What is held there stays.

    Returns:
        Why it is not there, and what to do; None where it is.
    """
    value, way_out = Secret(url), f"The key works. Set {URL_FIELD}={url} where it is used."
    try:
        place = open_safely(open_destination, uri).beside(URL_FIELD)
        if place is None:
            return f"{uri} has room for the key only. {way_out}"
        holding = place.read()
        target = Target(place, guarded(lambda: place.plugin.uri), expected_version=holding.version)
        held = holding.digest
        if held is None:
            held = target.write(value, secrets.token_hex(16), "").digest
    except DestinationError as error:
        return f"{URL_FIELD} was not put beside the key: {error} {way_out}"
    return None if value.matches(held) else f"{target.uri} holds another value, which stays. {way_out}"


class ElsewhereError(DestinationError):
    """A URI leads elsewhere than where a key was delivered, and the key is not there: nobody can tell about it."""


def elsewhere(key_id: str, known: Location, here: Location) -> ElsewhereError | None:
    """Return the error for a key that is not here; None where it was delivered just here, and so is gone.

    Args:
        known: where the URI led to when the key was delivered; without an identity where that is not known.
    """
    if known.identity == here.identity:
        return None
    told = f"{key_id} was delivered at {known.identity}."
    if not known.identity:
        told = f"It is not known where {key_id} was delivered."
    way = known.directions or "where it was delivered"
    return ElsewhereError(
        f"{told} From here the URI leads to {here.identity or 'an unknown location'}, and the key is not there. "
        f"Whether it is gone cannot be told. Run this again {way}.",
        permanent=True,
    )


@dataclass(frozen=True, slots=True)
class DeliveredKey:
    """A key as whoever delivered it knows it: what it is, and where it was.

    Its value, which nobody can guess, proves that it is where it is found, wherever that is. That it is absent proves
    something only where it was delivered; elsewhere, or where that is not known, nobody can tell.
    """

    key_id: str
    #: SHA-256 of its value.
    digest: str
    known: Location

    def look_for(self, destination: SafeDestination) -> tuple[Holding, Location]:
        """Read a destination to learn whether the key is there, and return what it holds, and where that is.

        Raises:
            ElsewhereError: it is not there, but that was not to be expected.
            DestinationError: it could not be found out.
        """
        return self._judged(destination, destination.read, lambda holding: holding.digest == self.digest)

    def take_away(self, destination: SafeDestination) -> tuple[bool, Location]:
        """Remove the value of the key, and return whether it was there, and where that is; raises as `look_for`."""
        return self._judged(destination, lambda: destination.remove(self.digest), bool)

    def _judged(
        self, destination: SafeDestination, act: Callable[[], Answer], proves: Callable[[Answer], bool]
    ) -> tuple[Answer, Location]:
        here = destination.location()
        problem = elsewhere(self.key_id, self.known, here)
        try:
            answer = act()
        except DestinationError as error:  # that the wrong server has no such mount, say, is no reason
            raise (problem if problem is not None and self.known.identity else error) from None
        if problem is not None and not proves(answer):
            raise problem
        return answer, here


class NotHeldError(DestinationError):
    """What was read back is not the key."""


class PutBackResult(Enum):
    """What a destination holds once a delivery was given up."""

    #: What it held before, or what somebody else wrote there since.
    AS_BEFORE = auto()
    #: Nothing, and it held something before.
    EMPTIED = auto()
    #: The key, as far as can be seen.
    NOT_TAKEN_BACK = auto()


@dataclass(slots=True, repr=False)  # error reporters print locals, and a plugin's repr may show its settings
class Target:
    """An opened destination with its URI, and how far the delivery of one key to it has come."""

    destination: SafeDestination
    uri: str
    pause: Pause = time.sleep
    #: Where the URI leads to; known once it was located.
    location: Location = Location()  # noqa: RUF009 - it is frozen
    #: What the destination was at when it was checked: the condition of the write.
    expected_version: str = ""
    #: SHA-256 of what it held then; None where that was nothing.
    former_digest: str | None = None
    #: Something was sent, whatever the answer.
    sent: bool = False
    #: Set when the write was answered.
    receipt: Receipt | None = None
    #: Nobody knows whether the key is there, or is yet to arrive.
    unclear: bool = False

    @classmethod
    def open(cls, open_destination: OpenDestination, uri: str, pause: Pause = time.sleep) -> Self:
        """Open the destination that a URI names; nothing is touched.

        Raises:
            DestinationError: it names none, or what opens it cannot be had at the moment.
        """
        destination = open_safely(open_destination, uri)
        return cls(destination, guarded(lambda: destination.plugin.uri), pause)

    def locate(self) -> Location:
        """Find out where the URI leads to; what it holds is not looked at.

        Raises:
            DestinationError: it could not be found out.
        """
        self.location = self.destination.location()
        return self.location

    def check(self) -> Holding:
        """Make sure that a write would be allowed, and return what would be overwritten.

        Raises:
            DestinationError: what is in the way.
        """
        self.destination.preflight()
        holding = self.destination.read()
        self.expected_version, self.former_digest = holding.version, holding.digest
        return holding

    def write(
        self, secret: Secret, attempt_id: str, key_id: str, in_time: Callable[[], bool] = lambda: True
    ) -> Receipt:
        """Write until it is clear whether the key is there.

        Args:
            in_time: tells whether the attempt may still write; asked before each try.

        Raises:
            DestinationError: permanent: it was refused; or not: it may have been written, and cannot be seen to be.
        """
        attempt = Attempt(attempt_id, key_id, self.expected_version)
        try:
            self.receipt = patiently(lambda: self._write_once(secret, attempt, in_time), self.pause)
        except DestinationError as error:
            found = None if error.permanent else self._find(secret)
            if found is None:
                raise
            self.receipt = found
        return self.receipt

    def _write_once(self, secret: Secret, attempt: Attempt, in_time: Callable[[], bool]) -> Receipt:
        if not in_time():  # from now on others may judge the attempt dead
            raise DestinationError("The time for this attempt was over before it was written.", permanent=True)
        self.sent = True
        try:
            return self.destination.write(secret, attempt)
        except DestinationError as error:
            self.unclear |= not error.permanent
            raise

    def _find(self, secret: Secret) -> Receipt | None:
        """Look whether a write arrived that was answered by nothing but errors."""
        with suppress(DestinationError):
            holding = self.destination.read()
            if secret.matches(holding.digest):
                return Receipt(holding.version, secret.digest())
        return None

    def read_back(self, secret: Secret) -> Holding:
        """Return what proves that the key is there.

        Raises:
            NotHeldError: it is not.
            DestinationError: it could not be found out.
        """

        def read_once() -> Holding:
            holding = self.destination.read()
            if not secret.matches(holding.digest):  # not for good: what was read may have been stale
                raise NotHeldError("It does not hold the key after the write.", permanent=False)
            return holding

        return patiently(read_once, self.pause)

    def restore(self) -> bool:
        """Put back what stood there before the write, and tell whether that is certain."""
        if self.receipt is None:
            return False
        receipt, restored = self.receipt, False
        with suppress(DestinationError):  # of a plugin that cannot restore, or that found its own earlier write
            restored = patiently(lambda: self.destination.restore(receipt), self.pause)
        self.unclear |= not restored
        return restored

    def put_back(self, secret: Secret) -> PutBackResult:
        """Restore what stood there before, or at least take the key away, and tell what is there now."""
        if not self.sent or self.restore():
            return PutBackResult.AS_BEFORE
        try:
            patiently(lambda: self.destination.remove(secret.digest()), self.pause)
            left = patiently(self.destination.read, self.pause).digest
        except DestinationError:
            return PutBackResult.NOT_TAKEN_BACK
        if secret.matches(left):
            return PutBackResult.NOT_TAKEN_BACK
        return PutBackResult.EMPTIED if left is None and self.former_digest is not None else PutBackResult.AS_BEFORE
