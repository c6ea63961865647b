"""The gate: from the credential in a request to the principal that it proves, and what that principal may do.

    headers ─ credential.py ─→ credential ─ principal.py ─→ principal ─ access.py ─→ the organization, or an error

    policies.py       what is asked on behalf of other services
    decision.py       may this pass, and what is this key
    cache.py          what the read of principal.py found, for as long as nothing is committed
    proof.py          the same decision again, inside the transaction that uses it
    invitations.py    the same question about who invited

Every request passes here, and every answer is as fresh as the database: what is remembered ends with the next commit.
`web/admission.py`, `web/forward_auth.py` and `web/fast_path.py` call it. May not import Flask, Click or a resource.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from mushu.environment import Environment
from mushu.server.audit import Actor, ActorKind
from mushu.server.client_address import Address, shown
from mushu.server.errors import WrongNetwork
from mushu.server.keys import Network, Scope, is_within, networks_of
from mushu.server.rate_limits import LimitWindow, windows_of


@dataclass(frozen=True, slots=True)
class Bounds:
    """What bounds the use of one key."""

    #: Its requests count in all of them.
    windows: tuple[LimitWindow, ...]
    #: Empty: it may be used from everywhere.
    networks: tuple[Network, ...]

    def require_network(self, address: Address | None) -> None:
        """Make sure that the key is used from one of its networks.

        Raises:
            WrongNetwork: it is not, or the address is not known.
        """
        if self.networks and not is_within(address, self.networks):
            raise WrongNetwork(
                f"This API key is for certain networks only, and the address of this request is {shown(address)}."
            )


@lru_cache(10_000)
def bounds_of(
    key_id: str, org_id: str, environment: str, limits: str | None, org_limits: str | None, networks: str | None
) -> Bounds:
    """Return the bounds of a key; the last four as they are stored.

    Test keys of an organization use up nothing of what its live keys have.
    """
    subject = org_id if environment == Environment.LIVE else f"{org_id}/{environment}"
    windows = windows_of(key_id, limits) + windows_of(subject, org_limits, "org-")
    return Bounds(windows, networks_of(networks))


@dataclass(frozen=True, slots=True)
class KeyPrincipal:
    """What an API key proves: one organization, one environment, some scopes."""

    key_id: str
    org_id: str
    environment: Environment
    scopes: tuple[Scope, ...]
    #: None: it may be used as often as it likes, and from everywhere.
    bounds: Bounds | None = None

    @property
    def actor(self) -> Actor:
        return Actor(ActorKind.API_KEY, self.key_id)


@lru_cache(10_000)
def key_principal(
    key_id: str,
    org_id: str,
    environment: str,
    scopes: str,
    limits: str | None,
    org_limits: str | None,
    networks: str | None,
) -> KeyPrincipal:
    """Return what a row of a key proves; all but the ids as they are stored."""
    bounds = None
    if limits or org_limits or networks:
        bounds = bounds_of(key_id, org_id, environment, limits, org_limits, networks)
    return KeyPrincipal(key_id, org_id, Environment(environment), tuple(map(Scope, scopes.split(","))), bounds)


@dataclass(frozen=True, slots=True)
class UserPrincipal:
    """What a CLI token proves: one user, whose scopes depend on the role in each organization."""

    user_id: str
    token_id: str
    #: May change what belongs to the server and not to an organization.
    is_operator: bool = False
    #: Limits and networks are for API keys.
    bounds: ClassVar[None] = None

    @property
    def actor(self) -> Actor:
        return Actor(ActorKind.USER, self.user_id)


Principal = KeyPrincipal | UserPrincipal
