"""The protocol that brings a new key to its destinations: phases 0 to 5, in order, in `Courier.deliver`.

The courier owns its transactions. Between them it holds no lock and keeps the plaintext in memory, nowhere else.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.exc import IntegrityError

from mushu.destination import Attempt, Destination, DestinationError, Holding, Receipt
from mushu.secret import Secret
from mushu.server.audit.service import Actor
from mushu.server.clock import Clock, rfc3339
from mushu.server.db import AnySession, reading, writing
from mushu.server.delivery import ledger
from mushu.server.delivery.destinations import OpenDestination, guarded
from mushu.server.delivery.models import Delivery, DeliveryState
from mushu.server.delivery.recovery import Reconciler
from mushu.server.errors import DeliveryFailed, DeliveryUndecided, DestinationHeld, Invalid, WrongState
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import KeyRequest, change_state, find_key_by_digest, mint_key
from mushu.server.keys.states import ACTIVATE, DEAD, FAIL, State

#: Pauses in seconds before a write whose outcome is unclear is tried again.
_PAUSES: Final = (0.2, 0.8)


@dataclass(slots=True)
class _Stop:
    """One destination on the way of one key."""

    destination: Destination
    expected_version: str
    #: Set in T1.
    delivery: Delivery = field(init=False)
    receipt: Receipt | None = None


@dataclass(slots=True)
class Courier:
    """Mints keys and delivers them.

    Args:
        session: outside of any transaction; the courier opens its own.
        open_destination: how a URI becomes a destination here.
        lease: how long one attempt may take.
    """

    session: AnySession
    clock: Clock
    actor: Actor
    open_destination: OpenDestination
    lease: timedelta
    pause: Callable[[float], None] = field(default=time.sleep)

    def deliver(self, request: KeyRequest, uris: Sequence[str], *, force: bool = False) -> tuple[ApiKey, list[str]]:
        """Mint a key, bring it to every destination, and return it active, with the destinations' full URIs.

        Args:
            force: overwrite a foreign value.

        Raises:
            Invalid: the request or a URI is wrong, or two name one place; nothing was minted.
            DestinationHeld: a destination holds something else; nothing was minted.
            DeliveryFailed: a destination refused; the key is dead, and what was written was put back.
            DeliveryUndecided: it is not known whether a destination has the key; recovery will find out.
        """
        stops = self._open(uris)
        self._reconciler.settle_destinations([stop.destination.uri for stop in stops])
        self._preflight(stops, force=force)
        key, secret = self._mint(request, stops)  # T1
        try:
            self._write(stops, key.id, secret)  # T2 for each
            self._prove(stops, secret)  # T3 for each
            key = self._activate(key.id)  # T4
        except _Refused as refusal:
            self._give_up(stops, key.id, str(refusal))
            raise DeliveryFailed(f"{refusal} The key was not activated, and what was written was put back.") from None
        return key, [stop.destination.uri for stop in stops]

    @property
    def _reconciler(self) -> Reconciler:
        return Reconciler(self.session, self.clock, self.actor, self.open_destination)

    def _open(self, uris: Sequence[str]) -> list[_Stop]:
        """Phase 0: every URI names a place, and no two the same."""
        try:
            destinations = [guarded(lambda uri=uri: self.open_destination(uri)) for uri in uris]  # type: ignore[misc]
        except DestinationError as error:
            raise Invalid(str(error), field="to") from None
        if not destinations or len({destination.uri for destination in destinations}) < len(destinations):
            raise Invalid("Name at least one destination, and none twice.", field="to")
        return [_Stop(destination, expected_version="") for destination in destinations]

    def _preflight(self, stops: Sequence[_Stop], *, force: bool) -> None:
        """Phase 1: every destination can be written to and holds nothing that would be lost."""
        for stop in stops:
            try:
                guarded(stop.destination.preflight)
                holding = guarded(stop.destination.read)
            except DestinationError as error:
                raise DeliveryFailed(f"{stop.destination.uri}: {error} Nothing was minted.") from None
            if holding.digest is not None and not force:
                self._refuse_foreign(stop.destination.uri, holding)
            stop.expected_version = holding.version

    def _refuse_foreign(self, uri: str, holding: Holding) -> None:
        with reading(self.session):
            holder = find_key_by_digest(self.session, holding.digest or "")
        if holder is None:
            raise DestinationHeld(
                f"{uri} holds a value that Mushu did not put there. Name another variable, remove the value, "
                "or overwrite it with --force.",
                field="to",
            )
        if State(holder.stored_state) not in DEAD:
            raise DestinationHeld(
                f"{uri} holds {holder.id} ({holder.name}). Delete that key first, name another place, "
                "or overwrite it with --force.",
                field="to",
            )

    def _mint(self, request: KeyRequest, stops: Sequence[_Stop]) -> tuple[ApiKey, Secret]:
        """T1: the key and its deliveries, pending."""
        try:
            with writing(self.session):
                now = self.clock()
                key, secret = mint_key(self.session, self.clock, self.actor, request)
                for stop in stops:
                    stop.delivery = ledger.open_delivery(
                        key.id, stop.destination.uri, stop.expected_version, now, now + self.lease
                    )
                    self.session.add(stop.delivery)
        except IntegrityError:
            raise self._busy(stops) from None
        return key, secret

    def _busy(self, stops: Sequence[_Stop]) -> DestinationHeld:
        """Return what to say when another delivery to one of these destinations is under way."""
        with reading(self.session):
            for stop in stops:
                other = ledger.find_under_way(self.session, stop.destination.uri)
                if other is not None:
                    return DestinationHeld(
                        f"{other.key_id} is being delivered to {other.uri}. Try again, or run `flask keys reconcile` "
                        f"after {rfc3339(other.lease_until)} if that delivery was cut off.",
                        field="to",
                    )
        return DestinationHeld("Another delivery to one of these destinations was under way. Try again.", field="to")

    def _write(self, stops: Sequence[_Stop], key_id: str, secret: Secret) -> None:
        """Write, and T2: delivered, with the receipt."""
        for stop in stops:
            attempt = Attempt(stop.delivery.attempt_id, key_id, stop.expected_version)
            stop.receipt = self._write_once(stop, secret, attempt, stop.delivery.lease_until)
            with writing(self.session):
                advanced = ledger.advance(
                    self.session,
                    stop.delivery,
                    ledger.UNDER_WAY,
                    state=DeliveryState.DELIVERED,
                    delivered_at=self.clock(),
                    version=stop.receipt.version,
                    error=None,
                )
            self._insist(stop, advanced=advanced)

    def _write_once(self, stop: _Stop, secret: Secret, attempt: Attempt, lease_until: datetime) -> Receipt:
        """Write until it is clear what came of it, within the lease."""
        last = DestinationError("the lease of this attempt was over before it was written", permanent=True)
        for pause in (*_PAUSES, None):
            if self.clock() >= lease_until:
                break
            try:
                return guarded(lambda: stop.destination.write(secret, attempt))
            except DestinationError as error:
                last = error
            if last.permanent:
                break
            if pause is None:
                raise self._undecided(stop, attempt.key_id, last)
            self.pause(pause)
        raise _Refused(f"{stop.destination.uri}: {last}")

    def _prove(self, stops: Sequence[_Stop], secret: Secret) -> None:
        """Read back, and T3: verified."""
        for stop in stops:
            try:
                holding = guarded(stop.destination.read)
            except DestinationError as error:
                raise self._undecided(stop, stop.delivery.key_id, error) from None
            if not secret.matches(holding.digest):
                raise _Refused(f"{stop.destination.uri}: it does not hold the key after the write.")
            with writing(self.session):
                advanced = ledger.advance(
                    self.session,
                    stop.delivery,
                    (*ledger.UNDER_WAY, DeliveryState.VERIFIED),
                    state=DeliveryState.VERIFIED,
                    verified_at=self.clock(),
                    version=holding.version,
                )
            self._insist(stop, advanced=advanced)

    def _activate(self, key_id: str) -> ApiKey:
        """T4: active, unless the key was given up or deleted meanwhile."""
        with writing(self.session):
            try:
                return change_state(self.session, self.clock, self.actor, key_id, ACTIVATE)
            except WrongState as error:
                key = self.session.get(ApiKey, key_id)
                if key is not None and key.stored_state == State.ACTIVE:  # recovery was a moment faster
                    return key
                raise _Refused(str(error)) from None

    def _insist(self, stop: _Stop, *, advanced: bool) -> None:
        """Go on only if this attempt is still alive: recovery may have given it up, or proven it a moment faster."""
        if advanced:
            return
        with reading(self.session):
            row = ledger.get_delivery(self.session, stop.delivery.id)
        if row.state != DeliveryState.VERIFIED:
            raise _Refused(f"{stop.destination.uri}: the attempt was given up while it was under way.")

    def _undecided(self, stop: _Stop, key_id: str, error: DestinationError) -> DeliveryUndecided:
        with writing(self.session):
            ledger.advance(self.session, stop.delivery, ledger.UNDER_WAY, error=str(error))
        return DeliveryUndecided(
            f"{stop.destination.uri}: {error} It is not known whether {key_id} arrived; it is not active. Run "
            f"`flask keys reconcile` after {rfc3339(stop.delivery.lease_until)}: it looks, and finishes or cleans up."
        )

    def _give_up(self, stops: Sequence[_Stop], key_id: str, reason: str) -> None:
        """Phase 5: the key dies first; then what was written is put back as it was."""
        with writing(self.session):
            with suppress(WrongState):  # deleted, or given up by someone else: dead all the same
                change_state(self.session, self.clock, self.actor, key_id, FAIL)
            for stop in stops:
                ledger.fail(self.session, stop.delivery, reason)
        for stop in stops:
            if stop.receipt is not None:
                self._undo(stop, stop.receipt)
        self._reconciler.clean_up(key_id)

    def _undo(self, stop: _Stop, receipt: Receipt) -> None:
        try:
            guarded(lambda: stop.destination.restore(receipt))
        except DestinationError:
            return  # stays due for cleanup: it is removed by its digest, now or by the next `reconcile`
        with writing(self.session):
            ledger.cleaned_up(self.session, stop.delivery)


class _Refused(Exception):
    """A destination will not have the key; the message says which and why."""
