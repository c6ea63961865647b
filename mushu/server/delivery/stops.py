"""One destination on the way of one key: what is asked of it, how patiently, and what is remembered of it meanwhile."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from mushu.destination import Attempt, Destination, DestinationError, Holding, Receipt
from mushu.secret import Secret
from mushu.server.clock import Clock
from mushu.server.delivery.models import Delivery
from mushu.server.delivery.opening import guarded, patiently

#: Waits so many seconds.
Pause = Callable[[float], None]


class NotHeldError(DestinationError):
    """What was read back is not the key."""


@dataclass(slots=True, repr=False)  # error reporters print locals, and a plugin's repr may show its settings
class Stop:
    """One destination on the way of one key; to be asked outside of any transaction."""

    destination: Destination
    uri: str
    #: What the destination was at before: the condition of the write.
    expected_version: str = ""
    #: Set in T1.
    delivery: Delivery = field(init=False)
    #: Set when the write was answered.
    receipt: Receipt | None = None
    #: Nobody knows whether the key is there, or is yet to arrive.
    unclear: bool = False

    def write(self, secret: Secret, clock: Clock, pause: Pause) -> Receipt:
        """Write until it is clear what came of it, within the lease.

        Raises:
            DestinationError: permanent: it was refused; or not: it may have been written, and cannot be seen to be.
        """
        attempt = Attempt(self.delivery.attempt_id, self.delivery.key_id, self.expected_version)
        try:
            self.receipt = patiently(partial(self._write_once, secret, attempt, clock), pause)
        except DestinationError as error:
            found = None if error.permanent else self._find(secret)
            if found is None:
                raise
            self.receipt = found
        return self.receipt

    def _write_once(self, secret: Secret, attempt: Attempt, clock: Clock) -> Receipt:
        if clock() >= self.delivery.lease_until:  # from now on others may judge the attempt dead
            raise DestinationError("The time for this attempt was over before it was written.", permanent=True)
        try:
            return guarded(lambda: self.destination.write(secret, attempt))
        except DestinationError as error:
            self.unclear |= not error.permanent
            raise

    def _find(self, secret: Secret) -> Receipt | None:
        """Look whether a write arrived that was answered by nothing but errors."""
        with suppress(DestinationError):
            holding = guarded(self.destination.read)
            if secret.matches(holding.digest):
                return Receipt(holding.version, secret.digest())
        return None

    def read_back(self, secret: Secret, pause: Pause) -> Holding:
        """Return what proves that the key is there.

        Raises:
            NotHeldError: it is not.
            DestinationError: it could not be found out.
        """
        return patiently(partial(self._read_once, secret), pause)

    def _read_once(self, secret: Secret) -> Holding:
        holding = guarded(self.destination.read)
        if not secret.matches(holding.digest):  # not for good: what was read may have been stale
            raise NotHeldError("It does not hold the key after the write.", permanent=False)
        return holding

    def restore(self, pause: Pause) -> bool:
        """Put back what stood there before the write, and tell whether that is certain."""
        if self.receipt is None:
            return False
        receipt, restored = self.receipt, False
        with suppress(DestinationError):
            restored = patiently(lambda: guarded(lambda: self.destination.restore(receipt)), pause)
        self.unclear |= not restored
        return restored
