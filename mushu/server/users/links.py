"""One-time links with which a user sets a password: issued, looked at, and used up."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Select, select, update

from mushu.keyformat import Prefix, generate, public_id
from mushu.secret import Secret
from mushu.server.audit import Actor, ActorKind, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession
from mushu.server.errors import LinkNotFound
from mushu.server.users.models import PasswordLink, User
from mushu.server.users.service import get_user, lock_user, set_password

LIFETIME: Final = timedelta(days=3)
_GONE = (
    "This link was used already, has expired, is incomplete, or the password changed since. "
    "Ask your operator for a new one."
)


def issue_link(session: AnySession, clock: Clock, actor: Actor, user: User) -> Secret:
    """Return the secret of a new link, and make the user's older links useless.

    It ends after its time, and with any change of the password.
    """
    lock_user(session, user.id)
    now = clock()
    secret = generate(Prefix.PASSWORD_LINK)
    _use_up(session, clock, user.id)
    link = PasswordLink(
        id=public_id("pln"), user_id=user.id, digest=secret.digest(), created_at=now, expires_at=now + LIFETIME
    )
    session.add(link)
    record(session, now, actor, "user.link_issued", user.id, details={"link": link.id})
    return secret


def find_open_link(session: AnySession, clock: Clock, user_id: str) -> PasswordLink | None:
    """Return a link of the user that can still be used."""
    return session.scalars(_open(clock()).where(PasswordLink.user_id == user_id).limit(1)).one_or_none()


def get_link_user(session: AnySession, clock: Clock, secret: Secret) -> User:
    """Return the user that the link is for, without using it up.

    Raises:
        LinkNotFound: unknown, used or expired; or the password was set, or the user disabled, since it was made.
    """
    link = session.scalars(_open(clock()).where(PasswordLink.digest == secret.digest())).one_or_none()
    if link is None:
        raise LinkNotFound(_GONE)
    return get_user(session, link.user_id)


def redeem_link(session: AnySession, clock: Clock, secret: Secret, password_hash: str) -> User:
    """Set the password of the link's user and use the link up.

    Raises:
        LinkNotFound: unknown, used or expired, also when another request was a moment faster.
    """
    user = get_link_user(session, clock, secret)
    lock_user(session, user.id)
    get_link_user(session, clock, secret)  # nothing changes the user from here on
    if not _use_up(session, clock, user.id, secret.digest()):
        raise LinkNotFound(_GONE)
    _use_up(session, clock, user.id)
    set_password(session, clock, Actor(ActorKind.USER, user.id), user, password_hash)
    return user


def _open(now: datetime) -> Select[Any]:
    return (
        select(PasswordLink)
        .join(User, User.id == PasswordLink.user_id)
        .where(
            PasswordLink.used_at.is_(None),
            PasswordLink.expires_at > now,
            User.still_counts(PasswordLink.created_at),
        )
    )


def _use_up(session: AnySession, clock: Clock, user_id: str, digest: str | None = None) -> bool:
    """Mark the user's unused links, or the one with `digest`, as used; tell whether there was any."""
    unused = update(PasswordLink).where(PasswordLink.user_id == user_id, PasswordLink.used_at.is_(None))
    if digest is not None:
        unused = unused.where(PasswordLink.digest == digest)
    return session.execute(unused.values(used_at=clock())).rowcount > 0  # type: ignore[attr-defined,no-any-return]
