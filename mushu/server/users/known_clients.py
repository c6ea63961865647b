"""Where a user signed in before: browsers, by a cookie, and networks. Each has a few tries of its own.

Without them, who guesses fast enough keeps the owner waiting: after each wait of the account, the next guess comes
first. A browser or network that the user signed in from is asked past that, for `TRIES` wrong passwords within a day;
after these it is a stranger like any other. A new password ends all of them. Rows are made by signing in only, and each
user has a bounded number of them, so no stranger can add one or push one out.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import case, delete, or_, select, update

from mushu.secret import Secret
from mushu.server.client_address import UNKNOWN, Address, network_of
from mushu.server.clock import Clock
from mushu.server.db import AnySession, insert_into
from mushu.server.users.models import KnownClient, User

#: Wrong passwords from one known browser or network, before it counts as a stranger.
TRIES: Final = 10
#: How long one is known after the last sign-in from it.
LIFETIME: Final = timedelta(days=180)
#: Browsers, and networks, that are known of one user; the one that was not used for the longest time gives way.
KEPT: Final = 10
_BROWSER: Final = "browser:"
_NETWORK: Final = "network:"


@dataclass(frozen=True, slots=True)
class SignInSource:
    """Where an attempt to sign in comes from."""

    address: Address | None
    #: What the cookie of the browser holds, if it is one and has it.
    browser: Secret | None = None

    @property
    def network(self) -> str:
        return network_of(self.address)

    @property
    def clients(self) -> list[str]:
        """What it may be known by. Strangers, too, have no address, so nobody is known by having none."""
        found = [] if self.browser is None else [_BROWSER + self.browser.digest()]
        return found if self.network == UNKNOWN else [*found, _NETWORK + self.network]


def count_known_attempt(
    session: AnySession, now: datetime, email: str, source: SignInSource, memory: timedelta
) -> bool:
    """Count an attempt on a known client of this account that has tries left; tell whether there was one.

    The same statements run whether or not there is such an account. Each decides and counts in one step. A wrong
    password is remembered for `memory`.
    """
    user_id = select(User.id).where(User.email == email.strip().lower()).scalar_subquery()
    forgotten = or_(KnownClient.last_failed_at.is_(None), KnownClient.last_failed_at <= now - memory)
    for client in source.clients:
        counted = session.execute(
            update(KnownClient)
            .where(
                KnownClient.user_id == user_id,
                KnownClient.client == client,
                KnownClient.signed_in_at > now - LIFETIME,
                or_(forgotten, KnownClient.failures < TRIES),
            )
            .values(failures=case((forgotten, 1), else_=KnownClient.failures + 1), last_failed_at=now)
            .execution_options(synchronize_session=False)
        )
        if counted.rowcount:  # type: ignore[attr-defined]
            return True
    return False


def remember_network(session: AnySession, clock: Clock, user: User, source: SignInSource) -> None:
    """Know the network from which the user just proved who they are."""
    if source.network != UNKNOWN:
        _remember(session, clock(), user, _NETWORK, source.network)


def remember_browser(session: AnySession, clock: Clock, user: User, presented: Secret | None) -> Secret:
    """Know the browser in which the user just proved who they are; return what its cookie is to hold.

    Only a cookie by which this user is known already stays: another person may have planted any other.
    """
    now = clock()
    known = select(KnownClient.client).where(KnownClient.user_id == user.id, KnownClient.signed_in_at > now - LIFETIME)
    if presented is None or _BROWSER + presented.digest() not in session.scalars(known).all():
        presented = Secret(secrets.token_urlsafe(32))
    _remember(session, now, user, _BROWSER, presented.digest())
    return presented


def forget_clients(session: AnySession, user_id: str) -> None:
    """Know none any more: the password changed, or the user was disabled."""
    session.execute(delete(KnownClient).where(KnownClient.user_id == user_id))


def _remember(session: AnySession, now: datetime, user: User, kind: str, name: str) -> None:
    values = {"signed_in_at": now, "failures": 0, "last_failed_at": None}
    made = insert_into(session, KnownClient).values(user_id=user.id, client=kind + name, **values)
    session.execute(made.on_conflict_do_update(index_elements=["user_id", "client"], set_=values))
    mine = (KnownClient.user_id == user.id, KnownClient.client.startswith(kind))
    latest = select(KnownClient.client).where(*mine)
    kept = latest.order_by(KnownClient.signed_in_at.desc(), (KnownClient.client == kind + name).desc()).limit(KEPT)
    old = delete(KnownClient).where(*mine, KnownClient.client.not_in(kept))
    session.execute(old.execution_options(synchronize_session=False))
