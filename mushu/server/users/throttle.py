"""What failed sign-ins lead to: guessing is slowed down, and the audit trail tells of it.

The wait is per account and per network, across all worker processes.

Each attempt is counted before its password is looked at, so that a thousand at once are a thousand, and forgiven when
it was right. The first few are free; then each failure doubles the wait, up to fifteen minutes. What comes during a
wait is refused unseen and not counted. Accounts are counted by what was typed: whether there is such an account makes
no difference. Attempts from where the account signed in before are not counted here (`known_clients.py`): who keeps
all others waiting does not keep the owner waiting.

The table is bounded and nothing in it gives way before its time: a stranger who fills it would erase what was counted
of him. Where it is full, new subjects share a fixed number of counters, which are as strict.

Anybody can fail to sign in, as often as they like, and must not fill the audit trail. The first failure of an account
is told at once; what follows is counted, and told at most once an hour, with the number. Accounts that are not there
share one count. What was typed is not kept: it may be a password in the wrong field. Attempts that are refused unseen
are not counted here either.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from sqlalchemy import delete, func, select

from mushu.server.audit import SYSTEM, Detail, record
from mushu.server.client_address import UNKNOWN
from mushu.server.clock import Clock
from mushu.server.db import AnySession, insert_into, reading, writing
from mushu.server.errors import TooManyAttempts
from mushu.server.users.known_clients import SignInSource, count_known_attempt
from mushu.server.users.models import LoginFailures, LoginThrottle, User

#: After so long without a failure, everything is forgotten.
MEMORY: Final = timedelta(hours=24)
LONGEST_WAIT: Final = timedelta(minutes=15)
#: Rows of subjects of their own; a few more where several processes of PostgreSQL count at once.
MOST_ROWS: Final = 20_000
#: Counters that new subjects share beyond that, for accounts and for networks each.
SHARED_ROWS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Backoff:
    """How many failures are free, how long the first wait is, and the longest."""

    free: int
    first_wait: timedelta
    longest_wait: timedelta = LONGEST_WAIT

    def wait(self, failures: int) -> timedelta:
        """Return how long to wait after so many failures."""
        if failures <= self.free:
            return timedelta(0)
        doublings = min(failures - self.free - 1, 20)
        return min(self.first_wait * (1 << doublings), self.longest_wait)


ACCOUNT: Final = Backoff(free=5, first_wait=timedelta(seconds=5))
#: Many people can share a network.
NETWORK: Final = Backoff(free=50, first_wait=timedelta(seconds=1))
#: Everybody without an address shares this one.
NO_ADDRESS: Final = Backoff(free=500, first_wait=timedelta(seconds=1), longest_wait=timedelta(minutes=1))

#: Links for a forgotten password; each ends the one before, so a stranger must not ask for many.
LINKS: Final = Backoff(free=2, first_wait=timedelta(minutes=5))
LINKS_OF_A_NETWORK: Final = Backoff(free=20, first_wait=timedelta(seconds=30))

_ACCOUNT: Final = "account:"


@dataclass(frozen=True, slots=True)
class Counted:
    """The rows on which an attempt was counted; none where the client is known."""

    subjects: tuple[str, ...]


def count_attempt(session: AnySession, clock: Clock, email: str, source: SignInSource) -> Counted:
    """Count an attempt to sign in as failed, before its password is looked at; `forgive` takes it back.

    Raises:
        TooManyAttempts: the account or the network has to wait; the error says for how long.
    """
    now = clock()
    if count_known_attempt(session, now, email, source, MEMORY):
        return Counted(())
    session.execute(delete(LoginThrottle).where(LoginThrottle.last_failed_at < now - MEMORY))
    policy = NO_ADDRESS if source.network == UNKNOWN else NETWORK
    return _count(session, now, {_account(email): ACCOUNT, f"network:{source.network}": policy})


def count_own_attempt(session: AnySession, clock: Clock, user_id: str) -> Counted:
    """Count an attempt of who is signed in already; what strangers do at the door makes no difference to it.

    Raises:
        TooManyAttempts: too many of them were wrong.
    """
    now, subject = clock(), f"user:{user_id}"
    _make(session, now, subject)
    return _count(session, now, {subject: ACCOUNT})


def count_link_request(session: AnySession, clock: Clock, email: str, network: str) -> None:
    """Count that somebody asked for a link for a forgotten password, whether or not there is such an account.

    Raises:
        TooManyAttempts: too many were asked for, for this address or from this network.
    """
    subject = f"link {_account(email)}"
    policy = NO_ADDRESS if network == UNKNOWN else LINKS_OF_A_NETWORK
    _count(session, clock(), {subject: LINKS, f"link network:{network}": policy}, "Too many links were asked for.")


def forgive(session: AnySession, counted: Counted) -> None:
    """Forget the failures of an account whose owner just signed in, and take back what else was counted."""
    for subject in counted.subjects:
        row = _locked_throttle(session, subject)
        if row is not None and subject.startswith((_ACCOUNT, "user:")):
            session.delete(row)
        elif row is not None:  # others have a part in it
            row.failures = max(0, row.failures - 1)
            row.blocked_until = row.last_failed_at


def _count(
    session: AnySession, now: datetime, policies: Mapping[str, Backoff], why: str = "Signing in failed too often."
) -> Counted:
    rows = {}
    for subject in sorted(policies):  # in one order, or two transactions could wait for each other
        row = _row(session, now, subject)
        rows[row.subject] = row, policies[subject]
    waits = [row.blocked_until - now for row, _ in rows.values() if row.blocked_until > now]
    if waits:
        seconds = ceil(max(waits).total_seconds())
        raise TooManyAttempts(f"{why} Try again in {seconds} seconds.", retry_after=seconds)
    for row, policy in rows.values():
        row.failures += 1
        row.last_failed_at, row.blocked_until = now, now + policy.wait(row.failures)
    return Counted(tuple(rows))


def _row(session: AnySession, now: datetime, subject: str) -> LoginThrottle:
    """Return the row that counts for a subject: its own, or one that is shared where there is no room for more."""
    row = _locked_throttle(session, subject)
    if row is not None:
        return row
    if (session.scalar(select(func.count()).select_from(LoginThrottle)) or 0) >= MOST_ROWS:
        kind = subject.partition(":")[0]
        subject = f"shared {kind}:{int(hashlib.sha256(subject.encode()).hexdigest(), 16) % SHARED_ROWS}"
    _make(session, now, subject)
    row = _locked_throttle(session, subject)
    assert row is not None  # noqa: S101 - made in this transaction
    return row


def _make(session: AnySession, now: datetime, subject: str) -> None:
    """Make the row of a subject that has none, whatever another transaction does at the same moment."""
    values = {"subject": subject, "failures": 0, "last_failed_at": now, "blocked_until": now}
    session.execute(insert_into(session, LoginThrottle).values(values).on_conflict_do_nothing())


def _locked_throttle(session: AnySession, subject: str) -> LoginThrottle | None:
    """Return the row, locked where the database locks rows; on SQLite the transaction holds the only writing lock."""
    query = select(LoginThrottle).where(LoginThrottle.subject == subject).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def _account(email: str) -> str:
    return _ACCOUNT + hashlib.sha256(email.strip().lower().encode("utf-8", "surrogatepass")).hexdigest()


#: The least time between two events about one account.
INTERVAL: Final = timedelta(hours=1)
NO_ACCOUNT: Final = "unknown"


def note_failure(session: AnySession, clock: Clock, user: User | None, address: str) -> None:
    """Count a sign-in that failed, and tell of it if it is time.

    Args:
        user: whose account it was, or None where there is no such account; both take the same statements.
    """
    subject = user.id if user is not None else NO_ACCOUNT
    new = insert_into(session, LoginFailures).values(subject=subject, told_at=None, untold=0, address="")
    session.execute(new.on_conflict_do_nothing())
    failures = _locked_failures(session, subject)
    failures.untold += 1
    failures.address = address[:64]
    now = clock()
    if failures.told_at is None or failures.told_at + INTERVAL <= now:
        _tell(session, now, failures)


def tell_failures(session: AnySession, clock: Clock) -> int:
    """Tell of failures that nobody was told of for an hour; return of how many accounts. Owns its transactions."""
    now = clock()
    with reading(session):
        due = select(LoginFailures.subject).where(LoginFailures.untold > 0, LoginFailures.told_at <= now - INTERVAL)
        subjects = session.scalars(due.order_by(LoginFailures.subject).limit(100)).all()
    for subject in subjects:
        with writing(session):
            failures = _locked_failures(session, subject)
            if failures.untold and failures.told_at is not None and failures.told_at + INTERVAL <= now:
                _tell(session, now, failures)
    return len(subjects)


def _tell(session: AnySession, now: datetime, failures: LoginFailures) -> None:
    details: dict[str, Detail] = {"count": failures.untold, "address": failures.address}
    record(session, now, SYSTEM, "login.failed", failures.subject, details=details)
    failures.told_at, failures.untold = now, 0


def _locked_failures(session: AnySession, subject: str) -> LoginFailures:
    query = select(LoginFailures).where(LoginFailures.subject == subject).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one()
