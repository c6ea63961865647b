"""Rotating a key that lies in destinations: its successor is delivered over it, as in every delivery, and takes over.

A rotation that was cut off between two destinations leaves a dead key at the first. What stood there is nowhere any
more, for no plaintext is kept; so `resume` mints another successor and brings it to both, while the old key works on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mushu.destination import DestinationError, Holding
from mushu.destination.target import Target
from mushu.secret import Secret
from mushu.server.clock import rfc3339
from mushu.server.db import reading, writing
from mushu.server.delivery import ledger
from mushu.server.delivery.models import Delivery
from mushu.server.delivery.named import any_forgettable, forget_settings
from mushu.server.delivery.protocol import Courier
from mushu.server.delivery.recovery import Finding, Verdict
from mushu.server.delivery.removal import follow_journal
from mushu.server.errors import DeliveryFailed, DeliveryUndecided, DestinationHeld, Invalid, WrongState
from mushu.server.idempotency import Once
from mushu.server.keys import rotation
from mushu.server.keys.models import ApiKey
from mushu.server.keys.once import mark_of
from mushu.server.keys.rotation import Terms
from mushu.server.keys.scopes import Environment
from mushu.server.keys.service import change_state, find_key_by_digest, get_key
from mushu.server.keys.states import DEAD, END_RETIREMENT, State


@dataclass(slots=True)
class Rotator:
    """Rotates keys by way of a courier; owns its transactions, as the courier does."""

    courier: Courier

    def rotate(
        self,
        key_id: str,
        terms: Terms,
        uris: Sequence[str] = (),
        *,
        force: bool = False,
        once: Once | None = None,
    ) -> tuple[ApiKey, list[str]]:
        """Deliver a successor over the key, and return it active, with its destinations; the key is retiring then.

        Args:
            uris: other destinations than those that the key lies in now.
            force: overwrite a value there that is neither the key nor one that it followed.
            once: the mark of the request, where it carries an Idempotency-Key.

        Raises:
            Invalid: the key lies in no destination of this server, and none is named.
            KeyNotFound, WrongState: there is no such key, or it is not active; nothing was minted.
            and what `Courier.carry` raises.
        """
        courier = self.courier
        with reading(courier.session):
            environment = Environment(rotation.get_key_to_rotate(courier.session, courier.clock(), key_id).environment)
            places = [delivery.uri for delivery in ledger.places_of(courier.session, key_id)]
            lineage = [key_id, *rotation.ancestors(courier.session, key_id)]
        if not (uris or places):
            raise Invalid(
                f"{key_id} lies in no destination of this server. Name one with --to, or ask for the new key itself "
                "with --show-once.",
                field="to",
            )

        def mint() -> tuple[ApiKey, Secret]:
            return rotation.begin(courier.session, courier.clock, courier.actor, key_id, terms, once)

        return courier.carry(mint, environment, uris or places, replacing=lineage, force=force)

    def resume(self) -> list[Finding]:
        """Do again what was cut off, where it left a destination without a key that works; and say what came of it."""
        with reading(self.courier.session):
            broken = rotation.list_broken_off(self.courier.session)
        # One that was done again and failed again stands for those before it, or they would double with each look.
        latest = {found.predecessor_id: found.successor_id for found in broken}
        for found in broken:
            if found.successor_id != latest[found.predecessor_id]:
                self._settle(found.successor_id)
        return [finding for finding in map(self._resume, latest.values()) if finding is not None]

    def _resume(self, successor_id: str) -> Finding | None:
        """Look where the old key should be, and rotate again unless it is there."""
        courier, now = self.courier, self.courier.clock()
        with reading(courier.session):
            broken = rotation.get_rotation_to(courier.session, successor_id)
            key = get_key(courier.session, broken.predecessor_id)
            places = ledger.places_of(courier.session, key.id)
            attempts = ledger.list_deliveries(courier.session, [successor_id])
            again_after = rotation.again_after(courier.session, broken)
            once = mark_of(get_key(courier.session, successor_id))
        if key.state(now) is not State.ACTIVE:
            self._settle(successor_id)
            return None
        lease = max((delivery.lease_until for delivery in attempts), default=now)
        if lease > now:  # the process that failed may be putting it back at this moment
            return Finding(key.id, Verdict.UNDER_WAY, f"Its rotation may be ending; run again after {rfc3339(lease)}.")
        try:
            holdings = [_look(courier, delivery) for delivery in places]
        except DestinationError as error:
            return Finding(key.id, Verdict.UNREACHABLE, f"Its rotation was cut off. {error}")
        if all(holding.digest == key.digest for holding in holdings):
            self._settle(successor_id)
            return None
        if any(self._is_foreign(holding, key) for holding in holdings):
            detail = f"Its rotation was cut off, and a foreign value lies there. See `flask keys check {key.id}`."
            self._settle(successor_id)
            return Finding(key.id, Verdict.DRIFTED, detail)
        if again_after > now:
            detail = f"Its rotation was cut off, and failed again. It will be tried after {rfc3339(again_after)}; "
            return Finding(key.id, Verdict.UNREACHABLE, f"{detail}`flask keys rotate {key.id}` does it now.")
        return self._again(key.id, successor_id, Terms.of(broken), once)

    def _again(self, key_id: str, successor_id: str, terms: Terms, once: Once | None) -> Finding:
        """Rotate again, in the name of the request that was cut off: where it is repeated, it is told the new key."""
        try:
            successor, _ = self.rotate(key_id, terms, once=once)
        except (DeliveryFailed, DeliveryUndecided, DestinationHeld, WrongState) as error:
            return Finding(key_id, Verdict.UNREACHABLE, f"Its rotation was cut off, and cannot be done again: {error}")
        self._settle(successor_id)
        return Finding(key_id, Verdict.ROTATED, f"Its rotation was cut off and done again: {successor.id} took over.")

    def _is_foreign(self, holding: Holding, key: ApiKey) -> bool:
        if holding.digest in (None, key.digest):
            return False
        with reading(self.courier.session):
            holder = find_key_by_digest(self.courier.session, holding.digest or "")
        return holder is None or holder.stored_state not in DEAD

    def _settle(self, successor_id: str) -> None:
        with writing(self.courier.session):
            rotation.settle(self.courier.session, self.courier.clock(), successor_id)

    def retire(self) -> list[Finding]:
        """End the keys whose successors were seen in use long enough ago, and take their values away."""
        courier = self.courier
        with reading(courier.session):
            key_ids = rotation.keys_to_retire(courier.session, courier.clock())
        findings = []
        for key_id in key_ids:
            with writing(courier.session):
                key = get_key(courier.session, key_id)
                if key.stored_state != State.RETIRING:  # someone was faster
                    continue
                change_state(courier.session, courier.clock, courier.actor, key_id, END_RETIREMENT)
                ledger.mark_for_cleanup(courier.session, key_id)
            courier.reconciler.clean_up(key_id)
            findings.append(Finding(key_id, Verdict.RETIRED, f"{key.name}: its successor is in use; it is over."))
        with reading(courier.session):
            ended = rotation.any_ended(courier.session)
        if ended:
            with writing(courier.session):
                rotation.settle_ended(courier.session, courier.clock())
        return findings


def _look(courier: Courier, delivery: Delivery) -> Holding:
    return Target.open(courier.open_destination, delivery.uri).destination.read()


def keep_house(courier: Courier) -> list[Finding]:
    """Do all that time and crashes have left to do, and say what came of it; safe at any time, also several at once.

    Where nothing is due it only reads: the lock of a writer, which others wait for, is taken for what is to be done.
    """
    rotator = Rotator(courier)
    again = follow_journal(courier.session, courier.clock, courier.actor)
    findings = [*again, *courier.reconciler.settle_all(), *rotator.resume(), *rotator.retire()]
    with reading(courier.session):
        forgettable = any_forgettable(courier.session, courier.clock)
    if forgettable:  # of a deleted organization, say, about which nobody gives a command any more
        with writing(courier.session):
            forget_settings(courier.session, courier.clock)
    return findings
