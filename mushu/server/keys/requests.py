from dataclasses import dataclass
from datetime import datetime, timedelta

from mushu.environment import Environment
from mushu.server.idempotency import Once
from mushu.server.keys.scopes import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRequest:
    """What is asked for when a key is minted."""

    org_id: str
    name: str
    #: None: those that the organization has settled, or else read and write.
    scopes: tuple[Scope, ...] | None = None
    environment: Environment = Environment.LIVE
    #: When the key ends; None: as the organization has settled, or else when it is deleted.
    expires_at: datetime | None = None
    #: After how long it is due to be rotated; None: as the organization has settled, or else never.
    rotate_every: timedelta | None = None
    #: The mark of the request, where it carries an Idempotency-Key.
    once: Once | None = None
