"""One-time links with which a user sets a password: issued, looked at, used up, and mailed to who forgot theirs.

Whether there is an account for a forgotten password makes no difference to the answer, nor to how long it takes: the
mail goes out on a thread of its own. Requests are counted by what was typed and by network, in the table of failed
sign-ins.
"""

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Select, select, update

from mushu.keyformat import Prefix, generate, public_id
from mushu.secret import Secret
from mushu.server.audit import SYSTEM, Actor, ActorKind, record
from mushu.server.clock import Clock
from mushu.server.db import AnySession, writing
from mushu.server.errors import Busy, LinkNotFound, MailFailed
from mushu.server.users.models import PasswordLink, User
from mushu.server.users.service import find_user_by_email, get_user, lock_user, set_password
from mushu.server.users.throttle import count_link_request

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


_LOG: Final = logging.getLogger(__name__)
#: Mails that wait for the mail server at once, in one process.
_MOST_MAILS: Final = 8

#: Mails a link, made of the secret, to an address.
SendLink = Callable[[str, Secret], None]


class Postman:
    """Sends mails on threads, a few at once."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(_MOST_MAILS)

    def ask_for_link(self, session: AnySession, clock: Clock, email: str, network: str, send: SendLink) -> None:
        """Have a link mailed to the user with this address, if there is one; owns its transaction.

        Args:
            network: where the request comes from.
            send: raises MailFailed where the mail server does not take it, which is logged.

        Raises:
            TooManyAttempts: too many links were asked for, for this address or from there.
            Busy: too many mails wait for the mail server; nothing was counted.
        """
        if not self._free.acquire(blocking=False):
            raise Busy("Too many mails wait for the mail server. Try again in a moment.", retry_after=5)
        recipient: str | None = None
        secret: Secret | None = None
        try:
            with writing(session):
                count_link_request(session, clock, email, network)
                user = find_user_by_email(session, email)
                if user is not None and user.disabled_at is None:
                    recipient, secret = user.email, issue_link(session, clock, SYSTEM, user)
        except BaseException:
            self._free.release()
            raise
        threading.Thread(target=self._send, args=(recipient, secret, send), name="mail", daemon=True).start()

    def _send(self, recipient: str | None, secret: Secret | None, send: SendLink) -> None:
        try:
            if recipient is not None and secret is not None:
                send(recipient, secret)
        except MailFailed as error:
            _LOG.error("the link for a forgotten password was not sent", extra={"detail": error.detail})
        finally:
            self._free.release()
