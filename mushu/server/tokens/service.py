from datetime import timedelta
from typing import Final

from sqlalchemy import update

from mushu.keyformat import Prefix, generate, public_id
from mushu.secret import Secret
from mushu.server.audit.service import Actor, ActorKind, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.tokens.models import CliToken
from mushu.server.users.models import User

#: The contract: a CLI token lives for 12 hours.
LIFETIME: Final = timedelta(hours=12)


def issue_token(session: AnySession, clock: Clock, user: User) -> tuple[CliToken, Secret]:
    """Return a new token of the user, and its plaintext, which is nowhere else."""
    now = clock()
    secret = generate(Prefix.CLI_TOKEN)
    token = CliToken(
        id=public_id("tok"), user_id=user.id, digest=secret.digest(), issued_at=now, expires_at=now + LIFETIME
    )
    session.add(token)
    record(session, now, Actor(ActorKind.USER, user.id), "token.issued", token.id)
    return token, secret


def revoke_token(session: AnySession, clock: Clock, actor: Actor, token_id: str) -> bool:
    """Revoke the token; tell whether it was still good for something."""
    now = clock()
    living = update(CliToken).where(CliToken.id == token_id, CliToken.revoked_at.is_(None))
    revoked: int = session.execute(living.values(revoked_at=now)).rowcount  # type: ignore[attr-defined]
    if revoked:
        record(session, now, actor, "token.revoked", token_id)
    return revoked > 0
