"""One place, one environment: a test key is never written where production reads its own, nor a live key into a test.

A place belongs to the environment for which it has a name, and to that of the keys that are not over and lie there. No
`--force` changes that: whoever wants the place for the other environment takes the name away and deletes the key first.
"""

from collections.abc import Sequence

from sqlalchemy import func, select

from mushu.environment import Environment
from mushu.server.audit.service import Actor
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.delivery.named import living_at
from mushu.server.destinations import service
from mushu.server.destinations.models import NamedDestination
from mushu.server.destinations.service import EVERYWHERE, DestinationRequest
from mushu.server.errors import DestinationHeld
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import DEAD
from mushu.server.sealing.ring import SealingKeys


def claim(session: AnySession, environment: Environment, uris: Sequence[str]) -> None:
    """Make sure of it until this transaction ends, in which a key is brought on its way to these places.

    Raises:
        DestinationHeld: as `refuse_other_environment`.
    """
    _hold(session, uris)
    refuse_other_environment(session, environment, uris)


def refuse_other_environment(session: AnySession, environment: Environment, uris: Sequence[str]) -> None:
    """Make sure that these places may have a key of this environment, as far as names and the ledger tell.

    Raises:
        DestinationHeld: one has a name for keys of the other, or one of these lies there.
    """
    others = select(NamedDestination.uri, NamedDestination.environment).where(
        NamedDestination.uri.in_(uris),
        NamedDestination.removed_at.is_(None),
        NamedDestination.environment != environment.value,
    )
    named = session.execute(others.order_by(NamedDestination.uri), execution_options=EVERYWHERE).first()
    if named is not None:
        # Neither its name nor its organization: who asks may be a test key.
        raise DestinationHeld(
            f"{named.uri} is a destination of {named.environment} keys, and takes no {environment} key. Name another "
            "destination.",
            field="deliver_to",
        )
    for uri, keys in living_at(session, uris).items():
        for key in keys:
            refuse_holder(environment, uri, key)


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


def add_named(
    session: AnySession, clock: Clock, actor: Actor, keys: SealingKeys, place: DestinationRequest
) -> NamedDestination:
    """Give a place a name, unless keys of the other environment lie there.

    Raises:
        DestinationHeld: one does.
        and what `destinations.service.add` raises.
    """
    _hold(session, [place.uri])
    for key in living_at(session, [place.uri]).get(place.uri, []):
        if key.environment != place.environment:
            raise DestinationHeld(
                f"{place.uri} holds {key.id} ({key.name}), a {key.environment} key. One place belongs to one "
                f"environment: name it with --env {key.environment}, or delete that key first.",
                field="environment",
            )
    return service.add(session, clock, actor, keys, place)


def _hold(session: AnySession, uris: Sequence[str]) -> None:
    """Have whoever names one of these places, or brings a key there, wait for this transaction to end."""
    if session.connection().dialect.name == "postgresql":  # SQLite has one writer
        for uri in sorted(uris):  # in one order, or two would wait for each other
            session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(uri, 0))))
