"""After a crash: decide from digests alone whether a key was delivered, and finish or clean up.

    the destination holds the key       go on from T3
    something else, and the lease over  the attempt is dead: the key fails, retrying mints a new one
    something else, within the lease    the process that minted it may still be at work: leave it alone
    cannot be read                      leave it pending; never guess

A value of a dead key is inert wherever it is. It is taken away by its digest, at once or when its destination can be
reached again, also when it arrives after its attempt was given up.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mushu.destination import Denied, DestinationError, Holding, Location
from mushu.destination.registry import OpenDestination
from mushu.destination.target import DeliveredKey, ElsewhereError, open_safely
from mushu.server.audit import Actor
from mushu.server.clock import Clock, rfc3339
from mushu.server.db import AnySession, finishing, reading
from mushu.server.delivery import ledger
from mushu.server.delivery.activation import activate
from mushu.server.delivery.models import Delivery, DeliveryState
from mushu.server.errors import WrongState
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import change_state, get_key
from mushu.server.keys.states import DEAD, FAIL, State

_UNPROVEN: Final = "No client proved in time that it delivered it."


class Verdict(StrEnum):
    """What recovery did with one key."""

    ACTIVATED = "activated"
    FAILED = "failed"
    #: A rotation that was cut off was done again.
    ROTATED = "rotated"
    #: Its successor was seen in use long enough ago: it is over.
    RETIRED = "retired"
    #: It was deleted before, and an older database came back that did not know.
    REVOKED = "revoked"
    #: A destination holds something else, which Mushu leaves alone.
    DRIFTED = "drifted"
    CLEANED_UP = "cleaned_up"
    #: It is dead, and its value was not there to be removed.
    ABSENT = "absent"
    UNDER_WAY = "under_way"
    UNREACHABLE = "unreachable"
    #: The destination answers, and does not let Mushu look.
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Finding:
    """One key that had unfinished business, and what was done; `detail` is a sentence for the operator."""

    key_id: str
    verdict: Verdict
    detail: str
    #: The destination, where it is about one.
    uri: str = ""

    @property
    def is_open(self) -> bool:
        """Whether something is left to do until a destination can be looked at."""
        return self.verdict in (Verdict.UNREACHABLE, Verdict.DENIED)


def verdict_of(error: DestinationError) -> Verdict:
    """Return the word for a destination that could not be looked at: the one that `flask keys check` has for it."""
    return Verdict.DENIED if isinstance(error, Denied) else Verdict.UNREACHABLE


def any_unreachable(findings: Iterable[Finding]) -> bool:
    """Tell whether something is left to do until a destination can be looked at."""
    return any(found.is_open for found in findings)


@dataclass(slots=True)
class Reconciler:
    """Settles unfinished deliveries. Owns its transactions; safe to run at any time, also several at once."""

    session: AnySession
    clock: Clock
    actor: Actor
    open_destination: OpenDestination

    def settle_all(self) -> list[Finding]:
        """Settle everything that is unfinished, and say what was done."""
        return list(self.settle_each())

    def settle_each(self) -> Iterator[Finding]:
        """Settle what is unfinished, one key after the other, and say what was done with each; nothing is kept."""
        with reading(self.session):
            key_ids = dict.fromkeys([*ledger.keys_under_way(self.session), *ledger.keys_to_clean_up(self.session)])
            lapsed = ledger.keys_lapsed(self.session, self.clock())
        yield from self._settle(key_ids)
        for key_id in lapsed:
            yield self._fail(key_id, [], _UNPROVEN)

    def settle_key(self, key: ApiKey) -> list[Finding]:
        """Settle one key that is pending, as `settle_all` would."""
        if key.confirm_by is None:
            with reading(self.session):
                deliveries = ledger.list_deliveries(self.session, [key.id])
            return list(self._settle([key.id])) if deliveries else []
        return [self._fail(key.id, [], _UNPROVEN)] if key.confirm_by <= self.clock() else []

    def settle_destinations(self, uris: Sequence[str]) -> list[Finding]:
        """Settle what is unfinished at these destinations."""
        with reading(self.session):
            key_ids = ledger.keys_at(self.session, uris)
        return list(self._settle(key_ids))

    def clean_up(self, key_id: str) -> list[Finding]:
        """Take a dead key's value away from where it may still be."""
        with reading(self.session):
            key = get_key(self.session, key_id)
            due = [delivery for delivery in ledger.list_deliveries(self.session, [key_id]) if delivery.cleanup_due]
        if key.stored_state not in DEAD:
            return []
        return [self._remove(delivery, key.digest) for delivery in due]

    def _settle(self, key_ids: Iterable[str]) -> Iterator[Finding]:
        for key_id in key_ids:
            with reading(self.session):
                key = get_key(self.session, key_id)
                deliveries = ledger.list_deliveries(self.session, [key_id])
            if key.stored_state == State.PENDING:
                yield self._settle_pending(key, deliveries)
            elif key.stored_state in DEAD:
                self._close(deliveries)
                # That there was nothing to remove is no news; it is looked for several times.
                yield from (found for found in self.clean_up(key_id) if found.verdict is not Verdict.ABSENT)

    def _settle_pending(self, key: ApiKey, deliveries: Sequence[Delivery]) -> Finding:
        now = self.clock()  # taken before anything is read, or what was written in time could be missed
        looks = [self._look(delivery, key.digest) for delivery in deliveries]
        held = [(look.delivery, *look.found) for look in looks if look.found is not None]
        absent = [delivery for delivery, holding, _ in held if holding.digest != key.digest]
        lost = [delivery for delivery in absent if delivery.lease_until <= now]
        if lost:
            uris = ", ".join(delivery.uri for delivery in lost)
            noted = "".join(f" The last error was: {delivery.error}" for delivery in lost if delivery.error)
            return self._fail(key.id, deliveries, f"{uris} did not receive it before the attempt ended.{noted}")
        if len(held) < len(looks):
            unseen = next(look for look in looks if look.found is None)
            wait = f"{unseen.delivery.uri}: {unseen.error} Deleting {key.id} ends the wait."
            return Finding(key.id, unseen.verdict, wait)
        if absent:
            lease = rfc3339(max(delivery.lease_until for delivery in absent))
            return Finding(key.id, Verdict.UNDER_WAY, f"It may still be under way; run again after {lease}.")
        return self._activate(key.id, held)

    def _activate(self, key_id: str, held: Sequence[tuple[Delivery, Holding, Location]]) -> Finding:
        """T3 for each delivery, and T4, for a key that was found in every destination.

        The key comes first, as wherever both are changed: on PostgreSQL a courier that does the same at this moment
        would else wait for us, and we for it.
        """
        try:
            with finishing(self.session):
                proven = [(delivery.uri, location.identity) for delivery, _, location in held]
                activate(self.session, self.clock, self.actor, key_id, proven)
                for delivery, holding, location in held:
                    ledger.verified(self.session, delivery, location, holding, self.clock())
        except WrongState as error:  # someone was faster, whichever way; or the key it succeeds cannot make way
            return self._fail(key_id, [delivery for delivery, _, _ in held], str(error))
        return Finding(key_id, Verdict.ACTIVATED, "Every destination holds it; it is active.")

    def _fail(self, key_id: str, deliveries: Sequence[Delivery], reason: str) -> Finding:
        with finishing(self.session):
            try:
                change_state(self.session, self.clock, self.actor, key_id, FAIL)
            except WrongState as error:
                return Finding(key_id, Verdict.UNDER_WAY, str(error))
            for delivery in deliveries:
                ledger.fail(self.session, delivery, reason)
        self.clean_up(key_id)
        return Finding(key_id, Verdict.FAILED, f"{reason} Mint a new key to try again.")

    def _close(self, deliveries: Sequence[Delivery]) -> None:
        """End what a dead key has under way, or it would hold its destination without an end."""
        if any(delivery.state in ledger.UNDER_WAY for delivery in deliveries):
            with finishing(self.session):
                for delivery in deliveries:
                    ledger.fail(self.session, delivery, "The key ended before it was delivered.")

    def _look(self, delivery: Delivery, digest: str) -> "_Reading":
        try:
            delivered = DeliveredKey(delivery.key_id, digest, delivery.where)
            return _Reading(delivery, delivered.look_for(open_safely(self.open_destination, delivery.uri)))
        except DestinationError as error:
            with finishing(self.session):
                ledger.note(self.session, delivery, str(error))
            return _Reading(delivery, None, str(error), verdict_of(error))

    def _remove(self, delivery: Delivery, digest: str) -> Finding:
        """Take the value of a dead key away from one destination."""
        now = self.clock()
        if delivery.state == DeliveryState.FAILED and now < delivery.lease_until:
            # What it overwrote is known to the process that wrote it, which has until then to put it back.
            after = f"run again after {rfc3339(delivery.lease_until)}"
            return Finding(delivery.key_id, Verdict.UNDER_WAY, f"{delivery.uri}: it may be being put back; {after}.")
        try:
            delivered = DeliveredKey(delivery.key_id, digest, delivery.where)
            removed, location = delivered.take_away(open_safely(self.open_destination, delivery.uri))
        except DestinationError as error:
            with finishing(self.session):
                ledger.note(self.session, delivery, str(error))
            end = f" If it is gone, `flask keys delete {delivery.key_id} --keep-in-destination` ends the search."
            detail = f"{delivery.uri}: {error}{end if isinstance(error, ElsewhereError) else ''}"
            return Finding(delivery.key_id, verdict_of(error), detail, delivery.uri)
        with finishing(self.session):
            if removed:
                ledger.removed(self.session, delivery, location, now)
            # Another delivery that is at work there may have overwritten this value, and may put it back.
            at_work = ledger.find_at_work(self.session, delivery.uri, location.identity, now)
            if at_work is None and not delivery.may_arrive(now):
                ledger.cleaned_up(self.session, delivery)
        if removed:
            return Finding(delivery.key_id, Verdict.CLEANED_UP, f"{delivery.uri}: its value was removed.")
        return Finding(delivery.key_id, Verdict.ABSENT, f"{delivery.uri}: its value is not there.")


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one destination was found to hold; None and the reason where it could not be read."""

    delivery: Delivery
    found: tuple[Holding, Location] | None
    error: str = ""
    verdict: Verdict = Verdict.UNREACHABLE
