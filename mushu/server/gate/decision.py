"""Decisions for other services: may a credential pass a policy, and what is an API key that was shown to somebody."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from mushu.environment import Environment
from mushu.server.client_address import Address
from mushu.server.environments import Reader
from mushu.server.errors import (
    DeletedCredential,
    DisabledCredential,
    ExpiredCredential,
    InactiveCredential,
    MissingScope,
    MushuError,
    OrgNotFound,
    PolicyRefused,
    RateLimited,
    Unauthenticated,
    UnknownCredential,
    WrongEnvironment,
    WrongNetwork,
)
from mushu.server.gate import KeyPrincipal
from mushu.server.gate.access import scopes_in
from mushu.server.gate.credential import read_key
from mushu.server.gate.policies import find_policy
from mushu.server.gate.principal import UNKNOWN, Identity, identify_by, read_row
from mushu.server.keys import Scope
from mushu.server.keys.states import State
from mushu.server.limiter import Limiter
from mushu.server.rate_limits import LimitWindow

#: The state of a key that proves nothing, by the reason.
_STATES: Final[dict[type[MushuError], State]] = {
    ExpiredCredential: State.EXPIRED,
    DisabledCredential: State.DISABLED,
    InactiveCredential: State.PENDING,
    DeletedCredential: State.REVOKED,
}
#: What is told of a key that who asks may not know of.
_UNKNOWN_STATE: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A credential that passes a policy."""

    identity: Identity
    org_id: str
    environment: Environment
    #: Those that the credential has in the organization.
    scopes: tuple[Scope, ...]


@dataclass(frozen=True, slots=True)
class KeyReport:
    """What is told of an API key."""

    state: str
    #: None where who asks may not know of the key.
    key_id: str | None
    #: None where the key is not good.
    identity: Identity | None = None
    #: Why the key does not do, as a word and a sentence; None where it does.
    code: str | None = None
    detail: str | None = None
    #: Seconds after which a limit lets it pass again, where one is reached, and that is known.
    retry_after: int | None = None


def get_requirement(source: Reader, policy_name: str) -> Any:
    """Return what the policy asks.

    Raises:
        PolicyRefused: there is none of this name, or not any more.
    """
    policy = find_policy(source, policy_name)
    if policy is None:
        raise PolicyRefused("There is no such policy, or it was removed. `flask policies list` shows them all.")
    return policy


def admit_by(source: Reader, policy: Any, identity: Identity) -> Admitted:
    """Let a credential pass, or raise.

    Args:
        policy: what `get_requirement` returned.

    Raises:
        PolicyRefused, WrongEnvironment, MissingScope: it does not pass.
    """
    principal, environment = identity.principal, Environment(policy.environment)
    org_id: str | None = policy.org_id
    if isinstance(principal, KeyPrincipal):
        org_id = org_id or principal.org_id
    elif not policy.cli_tokens or org_id is None:  # a CLI token has scopes within an organization only
        raise PolicyRefused("No CLI token passes here. Use an API key.")
    try:
        held = scopes_in(source, principal, org_id)
    except OrgNotFound:
        raise PolicyRefused("This credential is not one of the organization that passes here.") from None
    if isinstance(principal, KeyPrincipal) and principal.environment is not environment:
        raise WrongEnvironment(f"This is a {principal.environment} key, and only {environment} keys pass here.")
    scopes = tuple(scope for scope in Scope if scope in held)
    _require(Scope(policy.scope), scopes)
    return Admitted(identity, org_id, environment, scopes)


def report(source: Reader, now: datetime, asker: KeyPrincipal, key: str, scope: Scope | None = None) -> KeyReport:
    """Return what the asker may know of an API key: one of its own organization and environment, or `unknown`.

    Args:
        scope: what the key must permit; None: nothing.
    """
    place = asker.org_id, asker.environment
    try:
        identity = identify_by(source, now, read_key, key)
    except Unauthenticated as error:
        state = _STATES.get(type(error))
        if state is None:
            return KeyReport(_UNKNOWN_STATE, None, None, error.code, error.detail)
        row = read_row(source, read_key(key))
        if row is None or (row.org_id, row.environment) != place:
            return _unknown()
        return KeyReport(state, row.id, None, error.code, error.detail)
    principal = identity.principal
    if not isinstance(principal, KeyPrincipal) or (principal.org_id, principal.environment) != place:
        return _unknown()
    try:
        if scope is not None:
            _require(scope, principal.scopes)
    except MissingScope as error:
        return KeyReport(identity.state, principal.key_id, identity, error.code, error.detail)
    return KeyReport(identity.state, principal.key_id, identity)


def within_bounds(
    reports: Sequence[KeyReport], limiter: Limiter, now: datetime, address: Address | None
) -> list[tuple[KeyReport, RateLimited | None]]:
    """Count a use of each key that would pass; return what is told of each then, and the limit that it has reached.

    All of them are counted, or none: who hears nothing asks again.

    Args:
        address: where the keys are used from; None: not known.

    Raises:
        LimiterUnavailable: one of them cannot be counted.
    """
    told: list[tuple[KeyReport, RateLimited | None]] = []
    limited: dict[int, Sequence[LimitWindow]] = {}
    for place, found in enumerate(reports):
        bounds = found.identity.principal.bounds if found.identity is not None and found.code is None else None
        if bounds is not None:
            try:
                bounds.require_network(address)
                if bounds.windows:
                    limited[place] = bounds.windows
            except WrongNetwork as refusal:
                found = replace(found, code=refusal.code, detail=refusal.detail)
        told.append((found, None))
    taken = limiter.take_each([*limited.values()], now.timestamp()) if limited else []
    for place, left in zip(limited, taken, strict=True):
        if isinstance(left, RateLimited):
            found = replace(reports[place], code=left.code, detail=left.detail, retry_after=left.retry_after)
            told[place] = found, left
    return told


def _require(scope: Scope, held: tuple[Scope, ...]) -> None:
    if scope not in held:
        raise MissingScope(f"This needs the scope {scope}; the credential carries: {', '.join(held)}.")


def _unknown() -> KeyReport:
    return KeyReport(_UNKNOWN_STATE, None, None, UnknownCredential.code, UNKNOWN)
