"""In whose name the audit trail speaks."""

from mushu.server.audit.service import Actor, ActorKind
from mushu.server.gate.principal import KeyPrincipal, UserPrincipal
from mushu.server.keys.scopes import Environment


def test_a_key_acts_in_its_own_name() -> None:
    assert KeyPrincipal("key_a", "org_a", Environment.LIVE, ()).actor == Actor(ActorKind.API_KEY, "key_a")


def test_a_token_acts_in_the_name_of_its_user() -> None:
    assert UserPrincipal("usr_a", "tok_a").actor == Actor(ActorKind.USER, "usr_a")
