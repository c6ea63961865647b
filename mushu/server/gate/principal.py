from dataclasses import dataclass

from mushu.server.audit.service import Actor, ActorKind
from mushu.server.keys.scopes import Environment, Scope


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


@dataclass(frozen=True, slots=True)
class UserPrincipal:
    """What a CLI token proves: one user, whose scopes depend on the role in each organization."""

    user_id: str
    token_id: str

    @property
    def actor(self) -> Actor:
        return Actor(ActorKind.USER, self.user_id)


Principal = KeyPrincipal | UserPrincipal
