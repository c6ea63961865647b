"""Every table, imported in one place: migrations and the app need the whole schema."""

from mushu.server import audit, destinations, usage
from mushu.server.db import Base
from mushu.server.delivery import models as delivery
from mushu.server.gate import policies
from mushu.server.keys import models as keys
from mushu.server.keys import revocation_journal
from mushu.server.orgs import models as orgs
from mushu.server.orgs import settings as org_settings
from mushu.server.resources import devices, tenants
from mushu.server.resources.media import models as media
from mushu.server.resources.notifications import models as notifications
from mushu.server.tokens import models as tokens
from mushu.server.users import models as users

__all__ = [
    "audit",
    "delivery",
    "destinations",
    "devices",
    "keys",
    "media",
    "metadata",
    "notifications",
    "org_settings",
    "orgs",
    "policies",
    "revocation_journal",
    "tenants",
    "tokens",
    "usage",
    "users",
]

metadata = Base.metadata
