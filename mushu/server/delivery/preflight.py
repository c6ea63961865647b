"""What is made sure of at every destination before a key is minted, and again in the transaction that mints it.

That it can be written, that nothing would be lost, and that it belongs to the key's environment: a test key is never
written where production reads its own, nor a live key into a test. A destination belongs to the environment for which
it has a name, and to that of the keys that are not over and are there. No `--force` changes that: whoever wants it for
the other environment takes the name away and deletes the key first.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from mushu.destination import DestinationError, Receipt
from mushu.destination.registry import OpenDestination
from mushu.destination.safe import Pause
from mushu.destination.target import Target, elsewhere
from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server.clock import Clock
from mushu.server.db import AnySession, finishing, reading
from mushu.server.delivery import ledger
from mushu.server.delivery.models import Delivery
from mushu.server.delivery.named_destinations import deliveries_of_living, hold_places
from mushu.server.destinations import EVERYWHERE, DestinationRow
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
    """Open what is named, and find out where it is: every URI names a place, and no two the same.

    Raises:
        Invalid: one names none, or two the same; or there is none.
        DeliveryFailed: one cannot be opened or asked at the moment.
    """
    try:
        targets = [LedgerTarget.open(open_destination, uri, pause) for uri in uris]
    except DestinationError as error:
        if not error.permanent:  # what it needs cannot be had at the moment: no fault of who asks
            raise DeliveryFailed(f"{error} Nothing was minted.") from None
        raise Invalid(str(error), field="deliver_to") from None
    if not targets or len({target.uri for target in targets}) < len(targets):
        raise Invalid("Name at least one destination, and none twice.", field="deliver_to")
    for target in targets:
        try:
            target.locate()
        except DestinationError as error:
            raise DeliveryFailed(f"{target.uri}: {error} Nothing was minted.") from None
    return targets


def check_targets(
    session: AnySession,
    environment: Environment,
    targets: Sequence[Target],
    *,
    replacing: Collection[str] = (),
    in_place: Sequence[Delivery] = (),
    force: bool,
) -> None:
    """Every destination can be written to and holds nothing that would be lost.

    Args:
        environment: that of the key; one of the other that lives is never overwritten.
        replacing: ids of living keys whose value may be overwritten.
        in_place: the deliveries of the key that makes way, where the new one is to go to the same places.
        force: a foreign value may be lost.

    Raises:
        DeliveryFailed: one cannot be written to, or is elsewhere than the key that makes way.
        DestinationHeld: one holds something else.
    """
    for target in targets:
        try:
            holding = target.check()
        except DestinationError as error:
            raise DeliveryFailed(f"{target.uri}: {error} Nothing was minted.") from None
        holder = None
        if holding.digest is not None:
            with reading(session):
                holder = find_key_by_digest(session, holding.digest)
            refuse_holder(environment, target.uri, holder)
            if not force:
                _refuse_foreign(target.uri, holder, replacing)
        if holder is not None:
            _follow(session, target, holder)
        _refuse_elsewhere(target, holder, [found for found in in_place if found.uri == target.uri])


def _follow(session: AnySession, target: Target, holder: ApiKey) -> None:
    """Have the ledger say where the key is that was found."""
    with reading(session):
        moved = [
            found
            for found in ledger.on_server(ledger.list_deliveries(session, [holder.id]))
            if found.uri == target.uri and found.location != target.location.identity
        ]
    if moved:
        with finishing(session):
            for delivery in moved:
                ledger.found(session, delivery, target.location)


def _refuse_elsewhere(target: Target, holder: ApiKey | None, in_place: Sequence[Delivery]) -> None:
    for delivery in in_place:
        problem = elsewhere(delivery.key_id, delivery.where, target.location)
        if problem is not None and (holder is None or holder.id != delivery.key_id):
            raise DeliveryFailed(
                f"{target.uri}: {problem} Or name the place of the new key with --to. Nothing was minted."
            )


def claim(session: AnySession, environment: Environment, targets: Sequence[Target]) -> None:
    """Make sure of it until this transaction ends, in which a key is brought on its way to these places.

    Raises:
        DestinationHeld: as `refuse_other_environment`.
    """
    hold_places(session, [target.uri for target in targets])
    refuse_other_environment(session, environment, targets)


def refuse_other_environment(session: AnySession, environment: Environment, targets: Sequence[Target]) -> None:
    """Make sure that these places may have a key of this environment, as far as names and the ledger tell.

    Raises:
        DestinationHeld: one has a name for keys of the other, or one of these is there.
    """
    locations = {target.uri: target.location.identity for target in targets}
    uris = list(locations)
    others = select(DestinationRow.uri, DestinationRow.environment).where(
        DestinationRow.uri.in_(uris),
        DestinationRow.removed_at.is_(None),
        DestinationRow.environment != environment.value,
    )
    named = session.execute(others.order_by(DestinationRow.uri), execution_options=EVERYWHERE).first()
    if named is not None:
        # Neither its name nor its organization: who asks may be a test key.
        raise DestinationHeld(
            f"{named.uri} is a destination of {named.environment} keys, and takes no {environment} key. Name another "
            "destination.",
            field="deliver_to",
        )
    for delivery, key in deliveries_of_living(session, uris):
        if delivery.may_be_at(locations[delivery.uri]):
            refuse_holder(environment, delivery.uri, key)


def refuse_holder(environment: Environment, uri: str, holder: ApiKey | None) -> None:
    """Make sure that what a place holds is no living key of the other environment.

    Raises:
        DestinationHeld: it is one.
    """
    if holder is not None and holder.environment != environment and holder.stored_state not in DEAD:
        raise DestinationHeld(
            f"{uri} holds {holder.id}, a {holder.environment} key that is not over, and takes no {environment} key. "
            "Name another destination, or delete that key first.",
            field="deliver_to",
        )


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
