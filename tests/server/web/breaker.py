"""Credentials that prove nothing, or nothing any more, and the code with which each is refused."""

from collections.abc import Callable

from mushu.keyformat import Prefix, generate
from mushu.secret import Secret
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.keys import Scope
from mushu.server.keys.minting import KeyRequest, mint_key
from mushu.server.keys.service import change_state
from mushu.server.keys.states import DELETE, DISABLE, FAIL
from mushu.server.orgs.models import Organization
from mushu.server.orgs.service import delete_org
from mushu.server.users.models import User
from mushu.server.users.service import disable_user, set_password
from tests.conftest import TurnableClock
from tests.server.conftest import World, api_key, bearer
from tests.server.web.asking import SeparateClient
from tests.server.web.endpoints import Stage


class Breaker:
    """Makes credentials that prove nothing, or nothing any more."""

    def __init__(self, world: World, clock: TurnableClock, client: SeparateClient, stage: Stage) -> None:
        self._world, self._clock, self._client, self._stage = world, clock, client, stage

    def missing(self) -> dict[str, str]:
        return {}

    def malformed(self) -> dict[str, str]:
        return api_key("msk_live_short")

    def unknown_scheme(self) -> dict[str, str]:
        return {"Authorization": f"Basic {self._key()}"}

    def token_as_key(self) -> dict[str, str]:
        return api_key(self._token())

    def link_as_token(self) -> dict[str, str]:
        return bearer(generate(Prefix.PASSWORD_LINK).reveal())

    def mistyped(self) -> dict[str, str]:
        key = self._key()
        return api_key(key[:-1] + ("0" if key[-1] != "0" else "1"))

    def unknown_key(self) -> dict[str, str]:
        return api_key(generate(Prefix.LIVE_KEY).reveal())

    def unknown_token(self) -> dict[str, str]:
        return bearer(generate(Prefix.CLI_TOKEN).reveal())

    def expired_key(self) -> dict[str, str]:
        _, key = self._world.key(self._org(), *Scope, environment=self._stage.environment, lives_seconds=60)
        self._clock.turn(seconds=60)
        return api_key(key)

    def disabled_key(self) -> dict[str, str]:
        key, plaintext = self._world.key(self._org(), *Scope, environment=self._stage.environment)
        with writing(db.session):
            change_state(db.session, self._clock, SYSTEM, key.id, DISABLE)
        return api_key(plaintext)

    def deleted_key(self) -> dict[str, str]:
        key, plaintext = self._world.key(self._org(), *Scope, environment=self._stage.environment)
        with writing(db.session):
            change_state(db.session, self._clock, SYSTEM, key.id, DELETE)
        return api_key(plaintext)

    def pending_key(self) -> dict[str, str]:
        request = self._request()
        with writing(db.session):
            return api_key(mint_key(db.session, self._clock, SYSTEM, request)[1].reveal())

    def failed_key(self) -> dict[str, str]:
        request = self._request()
        with writing(db.session):
            key, plaintext = mint_key(db.session, self._clock, SYSTEM, request)
            change_state(db.session, self._clock, SYSTEM, key.id, FAIL)
        return api_key(plaintext.reveal())

    def key_of_deleted_org(self) -> dict[str, str]:
        key, org = self._key(), self._org()
        with writing(db.session):
            delete_org(db.session, self._clock, SYSTEM, db.session.merge(org))
        return api_key(key)

    def revoked_token(self) -> dict[str, str]:
        headers = bearer(self._token())
        assert self._client.post("/auth/logout", headers=headers).status_code == 200
        return headers

    def old_token(self) -> dict[str, str]:
        headers = bearer(self._token())
        self._clock.turn(hours=12)
        return headers

    def token_of_disabled_user(self) -> dict[str, str]:
        headers = bearer(self._token())
        with writing(db.session):
            disable_user(db.session, self._clock, SYSTEM, self._user())
        return headers

    def token_from_before_a_password_change(self) -> dict[str, str]:
        headers = bearer(self._token())
        self._clock.turn(seconds=1)
        hashed = self._world.core.passwords.hash(Secret("another long passphrase"))
        with writing(db.session):
            set_password(db.session, self._clock, SYSTEM, self._user(), hashed)
        return headers

    def _request(self) -> KeyRequest:
        return KeyRequest(org_id=self._stage.org, name="k", scopes=tuple(Scope), environment=self._stage.environment)

    def _org(self) -> Organization:
        return self._stage.organization

    def _user(self) -> User:
        return db.session.merge(self._stage.owner)

    def _key(self) -> str:
        return self._world.key(self._org(), *Scope, environment=self._stage.environment)[1]

    def _token(self) -> str:
        return self._world.token(self._stage.owner)


BROKEN: dict[Callable[[Breaker], dict[str, str]], str] = {
    Breaker.missing: "missing_credential",
    Breaker.malformed: "malformed_credential",
    Breaker.unknown_scheme: "malformed_credential",
    Breaker.token_as_key: "malformed_credential",
    Breaker.link_as_token: "malformed_credential",
    Breaker.mistyped: "mistyped_credential",
    Breaker.unknown_key: "unknown_credential",
    Breaker.unknown_token: "unknown_credential",
    Breaker.expired_key: "expired_credential",
    Breaker.disabled_key: "disabled_credential",
    Breaker.deleted_key: "deleted_credential",
    Breaker.pending_key: "inactive_credential",
    Breaker.failed_key: "deleted_credential",
    Breaker.key_of_deleted_org: "deleted_credential",
    Breaker.revoked_token: "deleted_credential",
    Breaker.old_token: "expired_credential",
    Breaker.token_of_disabled_user: "disabled_credential",
    Breaker.token_from_before_a_password_change: "deleted_credential",
}
