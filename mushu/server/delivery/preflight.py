"""Phases 0 and 1 of a delivery: what is asked of every destination before anything is minted."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from mushu.destination import DestinationError, Receipt
from mushu.destination.registry import OpenDestination
from mushu.destination.safe import Pause
from mushu.destination.target import Target
from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server.clock import Clock
from mushu.server.db import AnySession, reading
from mushu.server.delivery.models import Delivery
from mushu.server.delivery.separation import refuse_holder
from mushu.server.errors import DeliveryFailed, DestinationHeld, Invalid
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import find_key_by_digest
from mushu.server.keys.states import DEAD, State


@dataclass(slots=True, repr=False)
class LedgerTarget(Target):
    """A target of this server, with its row in the ledger."""

    #: Set in T1.
    delivery: Delivery = field(init=False)

    def deliver(self, secret: Secret, clock: Clock) -> Receipt:
        """Write within the lease; raises as `write` does."""
        delivery = self.delivery
        return self.write(secret, delivery.attempt_id, delivery.key_id, lambda: clock() < delivery.lease_until)


def open_targets(open_destination: OpenDestination, uris: Sequence[str], pause: Pause) -> list[LedgerTarget]:
    """Phase 0: every URI names a place, and no two the same.

    Raises:
        Invalid: one names none, or two the same; or there is none.
        DeliveryFailed: one cannot be opened at the moment.
    """
    try:
        targets = [LedgerTarget.open(open_destination, uri, pause) for uri in uris]
    except DestinationError as error:
        if not error.permanent:  # what it needs cannot be had at the moment: no fault of who asks
            raise DeliveryFailed(f"{error} Nothing was minted.") from None
        raise Invalid(str(error), field="deliver_to") from None
    if not targets or len({target.uri for target in targets}) < len(targets):
        raise Invalid("Name at least one destination, and none twice.", field="deliver_to")
    return targets


def check_targets(
    session: AnySession,
    environment: Environment,
    targets: Sequence[Target],
    *,
    replacing: Collection[str] = (),
    force: bool,
) -> None:
    """Phase 1: every destination can be written to and holds nothing that would be lost.

    Args:
        environment: that of the key; one of the other that lives is never overwritten.
        replacing: ids of living keys whose value may be overwritten.
        force: a foreign value may be lost.

    Raises:
        DeliveryFailed: one cannot be written to.
        DestinationHeld: one holds something else.
    """
    for target in targets:
        try:
            holding = target.check()
        except DestinationError as error:
            raise DeliveryFailed(f"{target.uri}: {error} Nothing was minted.") from None
        if holding.digest is not None:
            with reading(session):
                holder = find_key_by_digest(session, holding.digest)
            refuse_holder(environment, target.uri, holder)
            if not force:
                _refuse_foreign(target.uri, holder, replacing)


def _refuse_foreign(uri: str, holder: ApiKey | None, replacing: Collection[str]) -> None:
    if holder is None:
        raise DestinationHeld(
            f"{uri} holds a value that Mushu did not put there. Name another destination, or remove the value.",
            field="deliver_to",
            overwritable=True,
        )
    if State(holder.stored_state) not in DEAD and holder.id not in replacing:
        # Its name is not told: it may be a key of another organization than that of who asks.
        raise DestinationHeld(
            f"{uri} holds {holder.id}, which is not over. Rotate or delete that key, or name another destination.",
            field="deliver_to",
            overwritable=True,
        )
