"""The protocol that brings a new key to its destinations: `check`, in T1 `claim` and `register`, and `bring`.

The verb owns T1, in which it mints the key; the courier owns T2 to T4. Between them it holds no lock and keeps the
plaintext in memory, nowhere else.

T1 is the act, for which the caller's permission is proven. What follows is finished even if the caller loses it
meanwhile: the key belongs to the organization, as one does that was created a moment earlier.
"""

import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.exc import IntegrityError

from mushu.destination import DestinationError
from mushu.destination.registry import OpenDestination
from mushu.destination.safe import Pause
from mushu.destination.target import NotHeldError
from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server.audit import Actor
from mushu.server.clock import Clock, rfc3339
from mushu.server.db import AnySession, finishing, reading
from mushu.server.delivery import ledger
from mushu.server.delivery.activation import activate
from mushu.server.delivery.models import Delivery, DeliveryState
from mushu.server.delivery.preflight import (
    LedgerTarget,
    check_targets,
    claim,
    open_targets,
    refuse_other_environment,
)
from mushu.server.delivery.reconciler import Reconciler
from mushu.server.errors import DeliveryFailed, DeliveryUndecided, DestinationHeld, WrongState
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import change_state, get_key
from mushu.server.keys.states import DEAD, FAIL


@dataclass(slots=True)
class Courier:
    """Delivers keys.

    Args:
        session: `claim` and `register` are called within a transaction of it, the others outside of any.
        open_destination: how a URI becomes a destination here.
        lease: how long one attempt may take, and putting things back as long again.
    """

    session: AnySession
    clock: Clock
    actor: Actor
    open_destination: OpenDestination
    lease: timedelta
    pause: Pause = field(default=time.sleep)

    def check(
        self,
        environment: Environment,
        uris: Sequence[str],
        replacing: Collection[str] = (),
        in_place: Sequence[Delivery] = (),
        *,
        force: bool = False,
    ) -> list[LedgerTarget]:
        """Before T1: make sure that a key can be written to every destination, and that nothing would be lost.

        Args:
            environment: that of the key.
            replacing: ids of living keys whose value may be overwritten.
            in_place: the deliveries of the key that makes way, where the new one is to go to the same places.
            force: overwrite a foreign value, too; never a living key of the other environment.

        Raises:
            Invalid: a URI is wrong, or two name one place, or there is none.
            DestinationHeld: a destination holds something else, or belongs to the other environment.
            DeliveryFailed: a destination cannot be written to, or is not the place that the key to be replaced is in.
        """
        targets = open_targets(self.open_destination, uris, self.pause)
        with reading(self.session):  # before a place of the other environment is so much as read
            refuse_other_environment(self.session, environment, targets)
        self.reconciler.settle_destinations([target.uri for target in targets])
        check_targets(self.session, environment, targets, replacing=replacing, in_place=in_place, force=force)
        return targets

    def claim(self, environment: Environment, targets: Sequence[LedgerTarget]) -> None:
        """In T1, before the key is minted: make sure that no other delivery is at work at one of the destinations.

        Raises:
            DestinationHeld: one is; or a destination belongs to the other environment by now.
        """
        if not targets:
            return
        claim(self.session, environment, targets)  # again: a name may have been given since
        for target in targets:
            other = ledger.find_at_work(self.session, target.uri, target.location.identity, self.clock())
            if other is not None:
                raise _busy(other)

    def register(self, key: ApiKey, targets: Sequence[LedgerTarget]) -> None:
        """In T1, after the key was minted: write its pending deliveries into the ledger.

        Raises:
            DestinationHeld: another delivery to one of the destinations is being registered at this moment.
        """
        now = self.clock()
        for target in targets:
            target.delivery = ledger.open_delivery(
                key.id, target.uri, target.location, target.expected_version, now, now + self.lease, self.actor
            )
            self.session.add(target.delivery)
        try:
            self.session.flush()
        except IntegrityError:  # where transactions that write do not wait for each other, as on PostgreSQL
            raise DestinationHeld(
                "Another delivery to one of these destinations began at this very moment. Try again.",
                field="deliver_to",
            ) from None

    def bring(self, key_id: str, secret: Secret, targets: Sequence[LedgerTarget]) -> ApiKey:
        """After T1: bring the key to every destination (T2 to T4), and return it active.

        Raises:
            DeliveryFailed: a destination refused; the key is dead, and what was written was put back.
            DeliveryUndecided: it is not known whether a destination has the key; recovery will find out.
        """
        try:
            self._write(targets, secret)  # T2 for each
            self._prove(targets, secret)  # T3 for each
            return self._activate(targets, key_id)  # T4
        except _NotDelivered as refusal:
            return self._give_up(targets, key_id, str(refusal))

    @property
    def reconciler(self) -> Reconciler:
        return Reconciler(self.session, self.clock, self.actor, self.open_destination)

    def _write(self, targets: Sequence[LedgerTarget], secret: Secret) -> None:
        """Write, and T2: delivered, with the receipt.

        Where it cannot be seen whether a write arrives, recovery may yet find a key that has one destination. One of
        several is given up: those before can be put back while this process lives, those behind lack the key for sure.
        """
        for target in targets:
            try:
                receipt = target.deliver(secret, self.clock)
            except DestinationError as error:
                if error.permanent or len(targets) > 1:
                    raise _NotDelivered(f"{target.uri}: {error}") from None
                raise self._undecided(target, error) from None
            with finishing(self.session):
                alive = ledger.delivered(self.session, target.delivery, receipt.version, self.clock())
            self._insist(target, alive=alive)

    def _prove(self, targets: Sequence[LedgerTarget], secret: Secret) -> None:
        """Read back, and T3: verified."""
        for target in targets:
            try:
                holding = target.read_back(secret)
            except NotHeldError as error:
                raise _NotDelivered(f"{target.uri}: {error}") from None
            except DestinationError as error:
                raise self._undecided(target, error) from None
            with finishing(self.session):
                alive = ledger.verified(self.session, target.delivery, target.location, holding, self.clock())
            self._insist(target, alive=alive)

    def _activate(self, targets: Sequence[LedgerTarget], key_id: str) -> ApiKey:
        """T4: active, unless the key was given up or deleted meanwhile; this process writes no more."""
        try:
            with finishing(self.session):
                proven = [(target.uri, target.location.identity) for target in targets]
                key = activate(self.session, self.clock, self.actor, key_id, proven)
                for target in targets:
                    ledger.hand_back(self.session, target.delivery, target.delivery.created_at)
                return key
        except WrongState as error:
            reason = str(error)
        raise _NotDelivered(reason)

    def _insist(self, target: LedgerTarget, *, alive: bool) -> None:
        """Go on only if this attempt is still alive: recovery may have given it up, or proven it a moment faster."""
        if alive:
            return
        with reading(self.session):
            row = ledger.get_delivery(self.session, target.delivery.id)
        if row.state != DeliveryState.VERIFIED:
            raise _NotDelivered(f"{target.uri}: the attempt was given up while it was under way.")

    def _undecided(self, target: LedgerTarget, error: DestinationError) -> DeliveryUndecided:
        with finishing(self.session):
            ledger.note(self.session, target.delivery, str(error))
        return DeliveryUndecided(
            f"{target.uri}: {error} It is not known whether {target.delivery.key_id} arrived; it is not active. Run "
            f"`flask keys reconcile` after {rfc3339(target.delivery.lease_until)}: it looks, and finishes or cleans up."
        )

    def _give_up(self, targets: Sequence[LedgerTarget], key_id: str, reason: str) -> ApiKey:
        """Give up: the key dies first; then what was written is put back as it was.

        Returns:
            The key, if recovery found it everywhere and activated it before it could die.

        Raises:
            DeliveryFailed: the key is dead.
        """
        with finishing(self.session):
            with suppress(WrongState):  # deleted, or given up by someone else; or proven
                change_state(self.session, self.clock, self.actor, key_id, FAIL)
            key = get_key(self.session, key_id)
            if key.stored_state not in DEAD:
                return key
            for target in targets:  # on a new lease, or a sweeper that comes first takes away what could be put back
                ledger.put_back(self.session, target.delivery, reason, self.clock() + self.lease)
        restored = [target for target in reversed(targets) if target.restore()]
        now = self.clock()
        with finishing(self.session):
            for target in targets:
                ledger.hand_back(self.session, target.delivery, now if target.unclear else target.delivery.created_at)
            for target in restored:
                ledger.cleaned_up(self.session, target.delivery)
        touched = [target for target in targets if target.receipt is not None or target.unclear]
        uris = {target.uri for target in touched}
        left = [found for found in self.reconciler.clean_up(key_id) if found.is_open and found.uri in uris]
        end = "What was written was put back." if touched else "Nothing was written."
        if left:
            reasons = " ".join(found.detail for found in left)
            end = f"It may be left there, and opens nothing. Mushu could not look, or not take it away: {reasons}"
        elif any(target.unclear for target in touched):
            end = "If it is there all the same, it opens nothing, and `flask keys reconcile` takes it away."
        raise DeliveryFailed(f"{reason} The key was not activated. {end}") from None


def _busy(other: Delivery) -> DestinationHeld:
    return DestinationHeld(
        f"{other.key_id} is being delivered to {other.uri}. Try again; if that delivery was cut off, after "
        f"{rfc3339(other.lease_until)}. Where it cannot end, deleting {other.key_id} ends it.",
        field="deliver_to",
    )


class _NotDelivered(Exception):
    """A destination will not have the key; the message says which and why."""
