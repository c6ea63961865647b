"""What every verb is given and answers: who it acts for, how a new key is to be delivered, and what was minted."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum

from mushu.destination.registry import OpenDestination
from mushu.destination.safe import Pause
from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server.audit import Actor
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.delivery.named_destinations import uris_of
from mushu.server.delivery.protocol import Courier
from mushu.server.delivery.reconciler import Reconciler
from mushu.server.keys.models import ApiKey
from mushu.server.keys.service import get_key, get_key_of


@dataclass(frozen=True, slots=True)
class Context:
    """Who a verb acts for, and by what means; web and commands build it.

    Args:
        session: outside of any transaction; a verb opens its own.
        lease: how long one attempt of a delivery may take, and putting things back as long again.
        org_id: the organization of the request; None for an operator, who may act on every key.
        environment: that of the request; None for an operator.
    """

    session: AnySession
    clock: Clock
    actor: Actor
    open_destination: OpenDestination
    lease: timedelta
    pause: Pause = field(default=time.sleep)
    org_id: str | None = None
    environment: Environment | None = None

    @property
    def courier(self) -> Courier:
        return Courier(self.session, self.clock, self.actor, self.open_destination, self.lease, self.pause)

    @property
    def reconciler(self) -> Reconciler:
        return self.courier.reconciler

    def get_key(self, key_id: str) -> ApiKey:
        """Return the key, in the caller's transaction, if this context may act on it.

        Raises:
            KeyNotFound: there is none, or it belongs to another organization or environment, or was deleted.
        """
        if self.org_id is None or self.environment is None:
            return get_key(self.session, key_id)
        return get_key_of(self.session, self.org_id, self.environment, key_id)


class DeliveryMode(Enum):
    """Who brings a new key to where it is used."""

    SERVER = "this server writes it into destinations; nobody sees it"
    CLIENT = "the caller writes it on its own machine, and confirms that it did"
    RESPONSE = "nobody: the answer shows it, once"
    AS_BEFORE = "for a successor: as the key that it follows"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryChoice:
    """How a new key is to be delivered.

    Args:
        uris: destinations that an operator names by their URIs; for a successor, none: where the key is now.
        names: destinations by the names that they have in the organization; None where no name is given.
        force: overwrite a value there that is not Mushu's.
    """

    mode: DeliveryMode
    uris: Sequence[str] = ()
    names: Sequence[str] | None = None
    force: bool = False

    def resolve(self, session: AnySession, org_id: str) -> Sequence[str]:
        """Return the URIs that are asked for, in the caller's transaction.

        Raises:
            Invalid: no name, or one twice.
            DestinationNotFound: a name is none of this organization's.
        """
        return self.uris if self.names is None else uris_of(session, org_id, self.names)


@dataclass(frozen=True, slots=True)
class Minted:
    """What a verb that mints a key answers."""

    key: ApiKey
    #: The plaintext; None where the server delivered it.
    secret: Secret | None = None
    delivered_to: Sequence[str] = ()
    #: The id of the key whose place it takes.
    replaces: str | None = None
