"""After a crash: decide from digests alone whether a key was delivered, and finish or clean up.

    the destination holds the key       go on from T3
    something else, and the lease over  the attempt is dead: the key fails, retrying mints a new one
    something else, within the lease    the process that minted it may still be at work: leave it alone
    cannot be read                      leave it pending; never guess

A value of a dead key is inert wherever it lies. It is taken away by its digest, at once or when its destination can be
reached again, also when it arrives after its attempt was given up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mushu.destination import DestinationError, Holding
from mushu.server.audit.service import Actor
from mushu.server.clock import Clock, rfc3339
from mushu.server.db import AnySession, reading, writing
from mushu.server.delivery import ledger
from mushu.server.delivery.destinations import OpenDestination, guarded
from mushu.server.delivery.models import Delivery, DeliveryState
from mushu.server.errors import WrongState
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import change_state, find_key
from mushu.server.keys.states import ACTIVATE, DEAD, FAIL, State


class Verdict(StrEnum):
    """What recovery did with one key."""

    ACTIVATED = "activated"
    FAILED = "failed"
    CLEANED_UP = "cleaned_up"
    UNDER_WAY = "under_way"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Finding:
    """One key that had unfinished business, and what came of it; `detail` is a sentence for the operator."""

    key_id: str
    verdict: Verdict
    detail: str


@dataclass(slots=True)
class Reconciler:
    """Settles unfinished deliveries. Owns its transactions; safe to run at any time, also several at once."""

    session: AnySession
    clock: Clock
    actor: Actor
    open_destination: OpenDestination

    def settle_all(self) -> list[Finding]:
        """Settle everything that is unfinished, and say what came of it."""
        with reading(self.session):
            key_ids = [*ledger.keys_under_way(self.session), *ledger.keys_to_clean_up(self.session)]
        return self._settle(key_ids)

    def settle_destinations(self, uris: Sequence[str]) -> list[Finding]:
        """Settle what is unfinished at these destinations."""
        with reading(self.session):
            key_ids = ledger.keys_at(self.session, uris)
        return self._settle(key_ids)

    def _settle(self, key_ids: Iterable[str]) -> list[Finding]:
        findings = []
        for key_id in key_ids:
            with reading(self.session):
                key = find_key(self.session, key_id)
            if key is not None and key.stored_state == State.PENDING:
                findings.append(self._settle_pending(key))
            elif key is not None and key.stored_state in DEAD:
                findings.extend(self.clean_up(key_id))
        return findings

    def _settle_pending(self, key: ApiKey) -> Finding:
        deliveries = self._deliveries(key.id)
        holdings = {delivery.id: self._read(delivery) for delivery in deliveries}
        unreachable = [delivery for delivery in deliveries if holdings[delivery.id] is None]
        elsewhere = [
            delivery
            for delivery in deliveries
            if (held := holdings[delivery.id]) is not None and held.digest != key.digest
        ]
        lost = [delivery for delivery in elsewhere if delivery.lease_until <= self.clock()]
        if lost:
            uris = ", ".join(delivery.uri for delivery in lost)
            return self._fail(key, deliveries, f"{uris} did not receive it before the attempt ended.")
        if unreachable:
            return Finding(key.id, Verdict.UNREACHABLE, f"{unreachable[0].uri}: {unreachable[0].error}")
        if elsewhere:
            lease = rfc3339(max(delivery.lease_until for delivery in elsewhere))
            return Finding(key.id, Verdict.UNDER_WAY, f"It may still be under way; run again after {lease}.")
        return self._activate(key, deliveries, holdings)

    def _activate(self, key: ApiKey, deliveries: Sequence[Delivery], holdings: dict[str, Holding | None]) -> Finding:
        """T3 for each delivery, and T4, for a key that was found in every destination."""
        try:
            with writing(self.session):
                for delivery in deliveries:
                    held = holdings[delivery.id]
                    ledger.advance(
                        self.session,
                        delivery,
                        ledger.UNDER_WAY,
                        state=DeliveryState.VERIFIED,
                        verified_at=self.clock(),
                        version=held.version if held else None,
                        error=None,
                    )
                change_state(self.session, self.clock, self.actor, key.id, ACTIVATE)
        except WrongState as error:  # someone was faster, whichever way
            return Finding(key.id, Verdict.UNDER_WAY, str(error))
        return Finding(key.id, Verdict.ACTIVATED, "Every destination holds it; it is active.")

    def _fail(self, key: ApiKey, deliveries: Sequence[Delivery], reason: str) -> Finding:
        try:
            with writing(self.session):
                change_state(self.session, self.clock, self.actor, key.id, FAIL)
                for delivery in deliveries:
                    ledger.fail(self.session, delivery, reason)
        except WrongState as error:
            return Finding(key.id, Verdict.UNDER_WAY, str(error))
        self.clean_up(key.id)
        return Finding(key.id, Verdict.FAILED, f"{reason} Mint a new key to try again.")

    def clean_up(self, key_id: str) -> list[Finding]:
        """Take a dead key's value away from where it may still lie."""
        return [self._remove(delivery) for delivery in self._deliveries(key_id) if delivery.cleanup_due]

    def _remove(self, delivery: Delivery) -> Finding:
        with reading(self.session):
            key = find_key(self.session, delivery.key_id)
        if key is None or key.stored_state not in DEAD:
            return Finding(delivery.key_id, Verdict.UNDER_WAY, "It is not dead, so nothing was removed.")
        try:
            removed = guarded(lambda: guarded(lambda: self.open_destination(delivery.uri)).remove(key.digest))
        except DestinationError as error:
            with writing(self.session):
                ledger.advance(self.session, delivery, tuple(DeliveryState), error=str(error))
            return Finding(key.id, Verdict.UNREACHABLE, f"{delivery.uri}: {error}")
        now = self.clock()
        if removed or delivery.lease_until <= now:
            with writing(self.session):
                ledger.cleaned_up(self.session, delivery, now if removed else None)
        found = "its value was removed" if removed else "its value is not there"
        return Finding(key.id, Verdict.CLEANED_UP, f"{delivery.uri}: {found}.")

    def _deliveries(self, key_id: str) -> Sequence[Delivery]:
        with reading(self.session):
            return ledger.list_deliveries(self.session, [key_id])

    def _read(self, delivery: Delivery) -> Holding | None:
        """Return what the destination holds, or None, with the reason in `delivery.error`, when it cannot be read."""
        try:
            return guarded(lambda: guarded(lambda: self.open_destination(delivery.uri)).read())
        except DestinationError as error:
            with writing(self.session):
                ledger.advance(self.session, delivery, ledger.UNDER_WAY, error=str(error))
            delivery.error = str(error)
            return None
