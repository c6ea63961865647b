"""Slows guessing of passwords down, per account and per network, across all worker processes.

Each attempt is counted before its password is looked at, so that a thousand at once are a thousand, and forgiven when
it was right. The first few are free; then each failure doubles the wait, up to fifteen minutes. What comes during a
wait is refused unseen and not counted. Accounts are counted by what was typed: whether there is such an account makes
no difference. Attempts from where the account signed in before are not counted here (`known_clients.py`), so that who
keeps all others waiting does not keep the owner waiting.

The table is bounded and nothing in it gives way before its time: a stranger who fills it would erase what was counted
of him. Where it is full, new subjects share a fixed number of counters, which are as strict.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from sqlalchemy import delete, func, select

from mushu.server.client_address import UNKNOWN
from mushu.server.clock import Clock
from mushu.server.db import AnySession, insert_into
from mushu.server.errors import TooManyAttempts
from mushu.server.users.known_clients import SignInSource, count_known_attempt
from mushu.server.users.models import LoginThrottle

#: After so long without a failure, everything is forgotten.
MEMORY: Final = timedelta(hours=24)
LONGEST_WAIT: Final = timedelta(minutes=15)
#: Rows of subjects of their own; a few more where several processes of PostgreSQL count at once.
MOST_ROWS: Final = 20_000
#: Counters that new subjects share beyond that, for accounts and for networks each.
SHARED_ROWS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Policy:
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


ACCOUNT: Final = Policy(free=5, first_wait=timedelta(seconds=5))
#: Many people can share a network.
NETWORK: Final = Policy(free=50, first_wait=timedelta(seconds=1))
#: Everybody without an address shares this one.
NO_ADDRESS: Final = Policy(free=500, first_wait=timedelta(seconds=1), longest_wait=timedelta(minutes=1))

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


def forgive(session: AnySession, counted: Counted) -> None:
    """Forget the failures of an account whose owner just signed in, and take back what else was counted."""
    for subject in counted.subjects:
        row = _locked(session, subject)
        if row is not None and subject.startswith((_ACCOUNT, "user:")):
            session.delete(row)
        elif row is not None:  # others have a part in it
            row.failures = max(0, row.failures - 1)
            row.blocked_until = row.last_failed_at


def _count(session: AnySession, now: datetime, policies: Mapping[str, Policy]) -> Counted:
    rows = {}
    for subject in sorted(policies):  # in one order, or two transactions could wait for each other
        row = _row(session, now, subject)
        rows[row.subject] = row, policies[subject]
    waits = [row.blocked_until - now for row, _ in rows.values() if row.blocked_until > now]
    if waits:
        seconds = ceil(max(waits).total_seconds())
        raise TooManyAttempts(f"Signing in failed too often. Try again in {seconds} seconds.", retry_after=seconds)
    for row, policy in rows.values():
        row.failures += 1
        row.last_failed_at, row.blocked_until = now, now + policy.wait(row.failures)
    return Counted(tuple(rows))


def _row(session: AnySession, now: datetime, subject: str) -> LoginThrottle:
    """Return the row that counts for a subject: its own, or one that is shared where there is no room for more."""
    row = _locked(session, subject)
    if row is not None:
        return row
    if (session.scalar(select(func.count()).select_from(LoginThrottle)) or 0) >= MOST_ROWS:
        kind = subject.partition(":")[0]
        subject = f"shared {kind}:{int(hashlib.sha256(subject.encode()).hexdigest(), 16) % SHARED_ROWS}"
    _make(session, now, subject)
    row = _locked(session, subject)
    assert row is not None  # noqa: S101 - made in this transaction
    return row


def _make(session: AnySession, now: datetime, subject: str) -> None:
    """Make the row of a subject that has none, whatever another transaction does at the same moment."""
    values = {"subject": subject, "failures": 0, "last_failed_at": now, "blocked_until": now}
    session.execute(insert_into(session, LoginThrottle).values(values).on_conflict_do_nothing())


def _locked(session: AnySession, subject: str) -> LoginThrottle | None:
    """Return the row, locked where the database locks rows; on SQLite the transaction holds the only writing lock."""
    query = select(LoginThrottle).where(LoginThrottle.subject == subject).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def _account(email: str) -> str:
    return _ACCOUNT + hashlib.sha256(email.strip().lower().encode("utf-8", "surrogatepass")).hexdigest()
