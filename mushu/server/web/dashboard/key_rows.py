"""What a list of keys shows of each: loaded for all of them at once, whatever their number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mushu.server.db import AnySession
from mushu.server.delivery import ledger
from mushu.server.delivery.models import Delivery, DeliveryState
from mushu.server.delivery.named_destinations import names_of
from mushu.server.figures import hours_by_key, total
from mushu.server.keys.models import ApiKey
from mushu.server.keys.rotation import list_rotations_among
from mushu.server.usage import uses_of
from mushu.server.usage.report import Bar
from mushu.server.users.service import emails_of
from mushu.server.web.dashboard.charts import PlotPath, sparkline
from mushu.server.web.dashboard.key_status import KeyFacts, KeyStatus, status_of


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key in a list."""

    facts: KeyFacts
    status: KeyStatus
    #: The last 36 hours.
    hours: Sequence[Bar]
    #: Who created it, by address; None for who is no user any more, or never was.
    creator: str | None

    @property
    def key(self) -> ApiKey:
        return self.facts.key

    @property
    def requests(self) -> int:
        return total(self.hours)[0]

    @property
    def denials(self) -> int:
        return total(self.hours)[1]

    @property
    def spark(self) -> list[PlotPath]:
        return sparkline(self.hours)

    @property
    def places(self) -> list[Delivery]:
        """Return where the key is, or is to be."""
        gone = (DeliveryState.FAILED, DeliveryState.REPLACED, DeliveryState.REMOVED)
        return [delivery for delivery in self.facts.deliveries if delivery.state not in gone]

    @property
    def is_sealed(self) -> bool:
        """Tell whether the server delivered it, so that nobody has seen it."""
        return any(not delivery.on_client for delivery in self.facts.deliveries)


def rows_of(session: AnySession, now: datetime, org_id: str, keys: Sequence[ApiKey]) -> list[KeyRow]:
    """Return what is shown of some keys of an organization, in their order.

    Raises:
        DatabaseUnavailable: the usage of keys cannot be read.
    """
    ids = [key.id for key in keys]
    deliveries = _by_key(ledger.list_deliveries(session, ids))
    names = names_of(session, [delivery.uri for some in deliveries.values() for delivery in some], org_id)
    uses, hours = uses_of(session, ids), hours_by_key(session, now, ids)
    rotations = {found.predecessor_id: found for found in list_rotations_among(session, ids) if found.handed_over_at}
    emails = emails_of(session, [key.created_by for key in keys if key.created_by is not None])
    rows = []
    for key in keys:
        facts = KeyFacts(key, deliveries.get(key.id, ()), names, uses.get(key.id), rotations.get(key.id))
        rows.append(KeyRow(facts, status_of(facts, now), hours[key.id], emails.get(key.created_by or "")))
    return rows


def _by_key(deliveries: Sequence[Delivery]) -> Mapping[str, Sequence[Delivery]]:
    found: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        found.setdefault(delivery.key_id, []).append(delivery)
    return found
