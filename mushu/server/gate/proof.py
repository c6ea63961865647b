"""The permission of a request, proven again inside the transaction that uses it.

The guard decides in one transaction, and the view acts in another. In between, a token may be revoked, a member
demoted, a key deleted. So the guard leaves a proof on the session, and `db.writing` asks for it first.

Where the database locks rows, the proof locks those that it rests on until the transaction ends. A permission that is
taken away ends before, and the act is refused; or after, and the act was done in time. A user's rows are locked against
everybody, because the same request may change them (a token that revokes itself). A key's lock is shared, because many
machines use one key at a time. All are locked in the order of `keys/locking.py`, and those alone that the request may
change: two that first share a lock and then want it alone wait for each other.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select

from mushu.environment import Environment
from mushu.secret import Secret
from mushu.server.client_address import Address
from mushu.server.clock import Clock
from mushu.server.db import IN_ALL_ENVIRONMENTS, AnySession, holds_rows
from mushu.server.errors import SessionEnded
from mushu.server.gate import KeyPrincipal, Principal, UserPrincipal
from mushu.server.gate.access import Requirement, admit
from mushu.server.gate.credential import Credential
from mushu.server.gate.principal import authenticate
from mushu.server.keys.locking import acting_and_changed
from mushu.server.keys.models import ApiKey
from mushu.server.orgs.models import Membership, Organization
from mushu.server.tokens.models import BrowserSession, CliToken
from mushu.server.tokens.sessions import find_session
from mushu.server.users.models import User


@dataclass(slots=True, kw_only=True)  # not frozen: one is made for each request, and that takes twice as long
class RequestProof:
    """What a request was admitted with. Called in a transaction, it decides again, and raises what `admit` does."""

    clock: Clock
    #: Returns the credential.
    read: Callable[[], Credential]
    requirement: Requirement
    environment: Environment
    #: What the request names: an organization, or a resource that belongs to one.
    named: str | None
    #: The variables of its path: what it may change.
    path: Mapping[str, object]
    #: What the credential proved, and the organization that the request is about.
    principal: Principal
    org_id: str | None
    #: Returns where the request comes from.
    address: Callable[[], Address | None]

    def __call__(self, session: AnySession) -> None:
        if holds_rows(session):
            for query in self._rows():
                session.execute(query.execution_options(**{IN_ALL_ENVIRONMENTS: True}))
        principal = authenticate(session, self.clock, self.read())
        if principal.bounds is not None:
            principal.bounds.require_network(self.address())
        admit(session, principal, self.requirement, self.environment, self.named)

    def _rows(self) -> Iterator[Select[Any]]:
        """Return what locks the rows that the permission rests on, and those that the request changes beside them."""
        principal, member, key = self.principal, self.path.get("user_id"), self.path.get("key_id")
        if isinstance(principal, UserPrincipal):
            yield select(User.id).where(User.id == principal.user_id).with_for_update(key_share=True)
            yield select(CliToken.id).where(CliToken.id == principal.token_id).with_for_update(key_share=True)
        if self.org_id is not None:
            yield _org(self.org_id, self.requirement)
            acting = principal.user_id if isinstance(principal, UserPrincipal) else None
            members = [user_id for user_id in (acting, member) if isinstance(user_id, str)]
            if members:
                yield _memberships(self.org_id, *members)
        if isinstance(principal, KeyPrincipal):
            if isinstance(key, str):
                yield acting_and_changed(principal.key_id, self.org_id, key)
            else:
                yield select(ApiKey.id).where(ApiKey.id == principal.key_id).with_for_update(read=True)


@dataclass(frozen=True, slots=True)
class BrowserProof:
    """That the session of a browser is valid.

    Raises:
        SessionEnded: it has ended in the meantime.
    """

    clock: Clock
    secret: Secret
    session_id: str
    user_id: str

    def __call__(self, session: AnySession) -> None:
        self.user(session)

    def user(self, session: AnySession) -> User:
        """Return whose session it is, as they are now."""
        if holds_rows(session):
            mine = BrowserSession.id == self.session_id
            session.execute(select(User.id).where(User.id == self.user_id).with_for_update(key_share=True))
            session.execute(select(BrowserSession.id).where(mine).with_for_update(key_share=True))
        found = find_session(session, self.clock, self.secret)
        if found is None:
            raise SessionEnded("Your session has ended. Sign in again.")
        return found[1]


@dataclass(frozen=True, slots=True)
class PageProof:
    """That the session of a browser is valid, and its user may still do in an organization what a page is for.

    Raises:
        SessionEnded: the session has ended in the meantime.
        what `admit` raises.
    """

    browser: BrowserProof
    requirement: Requirement
    environment: Environment
    #: None for what belongs to the server.
    org_id: str | None

    def __call__(self, session: AnySession) -> None:
        user = self.browser.user(session)
        if holds_rows(session) and self.org_id is not None:
            for query in (_org(self.org_id, self.requirement), _memberships(self.org_id, self.browser.user_id)):
                session.execute(query.execution_options(**{IN_ALL_ENVIRONMENTS: True}))
        admit(session, page_principal(user), self.requirement, self.environment, self.org_id)


def page_principal(user: User) -> UserPrincipal:
    """Return what a session of this user proves."""
    return UserPrincipal(user.id, token_id="", is_operator=user.operator_since is not None)


def _org(org_id: str, requirement: Requirement) -> Select[Any]:
    """Return what locks the organization: a change of its name may go on meanwhile, its deletion waits.

    Where the request changes what live and test share, others that do wait, too: each may change a member who acts.
    """
    org = select(Organization.id).where(Organization.id == org_id)
    return org.with_for_update(read=not requirement.changes_shared, key_share=True)


def _memberships(org_id: str, *user_ids: str) -> Select[Any]:
    mine = select(Membership.user_id).where(Membership.org_id == org_id, Membership.user_id.in_(user_ids))
    return mine.order_by(Membership.user_id).with_for_update(key_share=True)
