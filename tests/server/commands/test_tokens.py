import pytest

from mushu.secret import Secret
from mushu.server.clock import utc_now
from mushu.server.core import db
from mushu.server.db import writing
from mushu.server.tokens.service import issue_token
from mushu.server.users.service import get_user_by_email
from tests.server.commands.conftest import Run


@pytest.fixture
def token(run: Run, in_core: None) -> Secret:
    run("users", "create", "--email", "ada@example.com")
    with writing(db.session):
        user = get_user_by_email(db.session, "ada@example.com")
        return issue_token(db.session, utc_now, user, "ada@laptop")[1]


def test_tokens_are_listed_and_revoked(run: Run, token: Secret) -> None:
    listed = run("tokens", "list", "ada@example.com")
    assert listed.rows[0] == ["TOKEN_ID", "CLIENT", "ISSUED", "EXPIRES"]
    assert listed.rows[1][1] == "ada@laptop"
    assert token.reveal() not in listed.stdout
    token_id = listed.rows[1][0]
    assert run("tokens", "revoke", token_id).json == {"token_id": token_id, "revoked": True}
    assert run("tokens", "list", "ada@example.com", "--json").json == []
    again = run("tokens", "revoke", token_id)
    assert again.code == 1
    assert "could be revoked" in again.stderr


def test_an_unknown_user_has_no_tokens_to_list(run: Run) -> None:
    assert run("tokens", "list", "nobody@example.com").code == 1
