"""The gate: from the credential in a request to the principal that it proves, and what that principal may do.

    headers ─ credential.py ─→ credential ─ principal.py ─→ principal ─ access.py ─→ the organization, or an error

    policies.py       what is asked on behalf of other services
    identity.py       a principal with what other services are told of it
    decision.py       may this pass, and what is this key
    oauth_client.py   the same credential as the secret of an OAuth client
    cache.py          what the read of principal.py found, for as long as nothing is committed
    proof.py          the same decision again, inside the transaction that uses it
    invitations.py    the same question about who invited

Every request passes here, and every answer is as fresh as the database: what is remembered ends with the next commit.
`web/guard.py`, `web/forward_auth.py` and `web/fast_path.py` call it. May not import Flask, Click or a resource.
"""

from dataclasses import dataclass
from functools import lru_cache

from mushu.environment import Environment
from mushu.server.audit import Actor, ActorKind
from mushu.server.keys import Scope


@dataclass(frozen=True, slots=True)
class KeyPrincipal:
    """What an API key proves: one organization, one environment, some scopes."""

    key_id: str
    org_id: str
    environment: Environment
    scopes: tuple[Scope, ...]

    @property
    def actor(self) -> Actor:
        return Actor(ActorKind.API_KEY, self.key_id)


@lru_cache(10_000)
def key_principal(key_id: str, org_id: str, environment: str, scopes: str) -> KeyPrincipal:
    """Return what a row of a key proves; the last two as they are stored."""
    return KeyPrincipal(key_id, org_id, Environment(environment), tuple(map(Scope, scopes.split(","))))


@dataclass(frozen=True, slots=True)
class UserPrincipal:
    """What a CLI token proves: one user, whose scopes depend on the role in each organization."""

    user_id: str
    token_id: str
    #: May change what belongs to the server and not to an organization.
    is_operator: bool = False

    @property
    def actor(self) -> Actor:
        return Actor(ActorKind.USER, self.user_id)


Principal = KeyPrincipal | UserPrincipal
