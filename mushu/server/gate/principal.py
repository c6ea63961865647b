"""From a credential to the principal that it proves: one prepared read for each request, of this moment.

It holds all that is asked, and no entity is built. What it says of expiry is decided for each request.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import bindparam, select

from mushu.server.clock import Clock, rfc3339
from mushu.server.db import IN_ALL_ENVIRONMENTS, AnySession
from mushu.server.environments import Reader, Source, prepare
from mushu.server.errors import (
    DeletedCredential,
    DisabledCredential,
    ExpiredCredential,
    InactiveCredential,
    Unauthenticated,
    UnknownCredential,
)
from mushu.server.gate import KeyPrincipal, Principal, UserPrincipal, key_principal
from mushu.server.gate.cache import derived_for_now
from mushu.server.gate.credential import Credential
from mushu.server.keys.models import ApiKey
from mushu.server.keys.states import AUTHENTICATING, State
from mushu.server.orgs.models import Organization
from mushu.server.tokens.models import CliToken
from mushu.server.users.models import User

# A credential is looked up before the environment of the request means anything; and this is the hot path.
_EVERYWHERE: Final = {IN_ALL_ENVIRONMENTS: True}

_KEY: Final = select(
    ApiKey.id, ApiKey.org_id, ApiKey.environment, ApiKey.scope_names, ApiKey.stored_state, ApiKey.expires_at,
    ApiKey.retires_at, ApiKey.name, ApiKey.created_at, ApiKey.limits, ApiKey.networks,
    Organization.deleted_at.label("org_deleted_at"), Organization.limits.label("org_limits"),
).join(Organization, Organization.id == ApiKey.org_id).execution_options(**_EVERYWHERE)  # fmt: skip

_TOKEN: Final = select(
    CliToken.id, CliToken.user_id, CliToken.issued_at, CliToken.expires_at, CliToken.revoked_at,
    User.disabled_at, User.tokens_valid_from, User.operator_since,
).join(User, User.id == CliToken.user_id).execution_options(**_EVERYWHERE)  # fmt: skip

_KEY_BY_DIGEST: Final = prepare(_KEY.where(ApiKey.digest == bindparam("digest")))
_KEY_BY_ID: Final = prepare(_KEY.where(ApiKey.id == bindparam("id")))
_TOKEN_BY_DIGEST: Final = prepare(_TOKEN.where(CliToken.digest == bindparam("digest")))

#: The same for a credential that is nobody's, and for one that who asks may not know of.
UNKNOWN: Final = "This credential is not known here. Check that it belongs to this server."


def authenticate(source: Source, clock: Clock, credential: Credential) -> Principal:
    """Return what the credential proves at this moment; in a session's transaction, until that ends.

    Raises:
        Unauthenticated: one of its kinds, saying what is the matter; only who holds the credential learns it.
    """
    return prove(read_row(source, credential), clock(), is_key=credential.is_key)


def read_row(source: Source, credential: Credential) -> Any | None:
    """Return what is stored of the credential, good or not; None where it is not known."""
    by_digest = _KEY_BY_DIGEST if credential.is_key else _TOKEN_BY_DIGEST
    found = by_digest.rows(source, {"digest": credential.secret.digest()})
    return found[0] if found else None


def prove(row: Any | None, now: datetime, *, is_key: bool) -> Principal:
    """Return what a credential proves at this moment, by what `read_row` found.

    Raises:
        Unauthenticated: one of its kinds.
    """
    if row is None:
        raise UnknownCredential(UNKNOWN)
    if not is_key:
        return _token(row, now)
    try:
        return _key(row, now)
    except Unauthenticated as refusal:
        refusal.of_key = row.id
        raise


def principal_of_key(session: AnySession, now: datetime, key_id: str) -> KeyPrincipal:
    """Return what the key would prove at this moment, for something that it gave.

    Raises:
        Unauthenticated: one of its kinds.
    """
    found = _KEY_BY_ID.rows(session, {"id": key_id})
    if not found:
        raise UnknownCredential("There is no such API key.")
    return _key(found[0], now)


def _key(row: Any, now: datetime) -> KeyPrincipal:
    if row.org_deleted_at is not None:
        raise _why_not(State.REVOKED)
    state = row.stored_state
    if row.retires_at is not None and (state == State.REVOKED or row.retires_at <= now):
        raise DeletedCredential("This API key was rotated, and its time is over. Load the one that took its place.")
    if state not in AUTHENTICATING:
        raise _why_not(State(state))
    if row.expires_at is not None and row.expires_at <= now:
        raise ExpiredCredential(f"This API key expired at {rfc3339(row.expires_at)}. Create a new one.")
    return key_principal(row.id, row.org_id, row.environment, row.scope_names, row.limits, row.org_limits, row.networks)


def _why_not(state: State) -> Unauthenticated:
    if state is State.DISABLED:
        return DisabledCredential("This API key is disabled. An admin of its organization can enable it again.")
    if state is State.PENDING:
        return InactiveCredential("This API key is not active yet: its delivery is not proven.")
    return DeletedCredential("This API key was deleted. Create a new one.")


def _token(row: Any, now: datetime) -> UserPrincipal:
    if row.disabled_at is not None:
        raise DisabledCredential("This user is disabled. Ask your operator.")
    if row.revoked_at is not None or row.issued_at < row.tokens_valid_from:
        raise DeletedCredential("This CLI token was revoked. Sign in again.")
    if row.expires_at <= now:
        raise ExpiredCredential("This CLI token is older than 12 hours. Sign in again.")
    return UserPrincipal(row.user_id, row.id, is_operator=row.operator_since is not None)


@dataclass(frozen=True, slots=True)
class Identity:
    """A principal, with what other services are told of it."""

    principal: Principal
    #: The name of the API key; None for a CLI token.
    name: str | None
    state: str
    issued_at: datetime
    #: The moment from which on it proves nothing; None: it has no end.
    until: datetime | None


def identify(source: Reader, now: datetime, credential: Credential) -> Identity:
    """Return whose credential this is.

    Raises:
        Unauthenticated: one of its kinds.
    """
    row = read_row(source, credential)
    principal = prove(row, now, is_key=credential.is_key)
    stored: Any = row
    if isinstance(principal, UserPrincipal):
        return Identity(principal, None, State.ACTIVE, stored.issued_at, stored.expires_at)
    ends = [moment for moment in (stored.expires_at, stored.retires_at) if moment is not None]
    return Identity(principal, stored.name, stored.stored_state, stored.created_at, min(ends, default=None))


def identify_by(source: Reader, now: datetime, read: Callable[..., Credential], *sent: str | None) -> Identity:
    """Return whose credential `read` finds in what was sent; neither is looked into where the answer is known.

    Raises:
        Unauthenticated, AmbiguousCredential: what `read` and `identify` raise.
    """

    def make() -> Identity:
        return identify(source, now, read(*sent))

    return derived_for_now(source, (read, digest_of_sent(*sent)), now, make)


def digest_of_sent(authorization: str | None, x_api_key: str | None = None, secret: str | None = None) -> bytes:
    """Return a digest of texts as they were sent, to remember by it what they prove; it holds no credential."""
    if x_api_key is secret is None and authorization is not None:
        text = f"a{authorization}"
    elif authorization is secret is None and x_api_key is not None:
        text = f"x{x_api_key}"
    else:
        text = repr((authorization, x_api_key, secret))
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
