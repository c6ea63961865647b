from datetime import timedelta

import pytest

from mushu import keyformat
from mushu.keyformat import Prefix
from mushu.server.audit import SYSTEM
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.tokens.service import issue_token, revoke_token
from tests.server.conftest import World

pytestmark = pytest.mark.database


def test_a_token_lives_for_twelve_hours_and_is_kept_as_a_digest(world: World) -> None:
    user = world.user()
    with writing(db.session):
        token, secret = issue_token(db.session, world.clock, user)
    assert keyformat.parse(secret.reveal()) is Prefix.CLI_TOKEN
    assert token.expires_at - token.issued_at == timedelta(hours=12)
    assert secret.matches(token.digest)


def test_a_token_is_revoked_once(world: World) -> None:
    user = world.user()
    with writing(db.session):
        token, _ = issue_token(db.session, world.clock, user)
    with writing(db.session):
        assert revoke_token(db.session, world.clock, SYSTEM, token.id)
        assert not revoke_token(db.session, world.clock, SYSTEM, token.id)
        assert not revoke_token(db.session, world.clock, SYSTEM, "tok_nosuch")
