"""Every table, imported in one place: whoever needs the whole schema (migrations, the app) imports this module."""

from mushu.server.audit import models as audit
from mushu.server.db import Base
from mushu.server.delivery import models as delivery
from mushu.server.keys import models as keys
from mushu.server.orgs import models as orgs
from mushu.server.tokens import models as tokens
from mushu.server.users import models as users

__all__ = ["audit", "delivery", "keys", "metadata", "orgs", "tokens", "users"]

metadata = Base.metadata
