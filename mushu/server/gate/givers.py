"""Whether a user or a key that gave something could still give it: asked when it is used, which may be much later."""

from datetime import datetime

from mushu.server.db import AnySession
from mushu.server.errors import Forbidden, NotFound, Unauthenticated
from mushu.server.gate.access import Requirement, authorize
from mushu.server.gate.lookup import principal_of_key
from mushu.server.gate.principal import Principal, UserPrincipal
from mushu.server.keys.scopes import Environment
from mushu.server.users.service import find_user


def still_may(
    session: AnySession, now: datetime, giver_id: str, requirement: Requirement, environment: Environment, org_id: str
) -> bool:
    """Tell whether this user or this API key could do at this moment what `requirement` asks for."""
    try:
        authorize(session, _principal(session, now, giver_id), requirement, environment, org_id)
    except (Unauthenticated, Forbidden, NotFound):
        return False
    return True


def _principal(session: AnySession, now: datetime, giver_id: str) -> Principal:
    user = find_user(session, giver_id, fresh=True)
    if user is None:
        return principal_of_key(session, now, giver_id)
    if user.disabled_at is not None:
        raise Forbidden("This user is disabled.")
    return UserPrincipal(user.id, token_id="")
