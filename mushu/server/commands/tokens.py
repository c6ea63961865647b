"""`flask tokens`: the CLI tokens of users."""

import click

from mushu.server import answers
from mushu.server.commands.common import AdminGroup, operator
from mushu.server.commands.printing import as_json, print_json, print_rows
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.errors import TokenNotFound
from mushu.server.paging import in_pages
from mushu.server.tokens import service
from mushu.server.users.service import get_user_by_email


@click.group(cls=AdminGroup)
def tokens() -> None:
    """CLI tokens: who is signed in at a terminal."""


@tokens.command("list")
@click.argument("email")
@as_json
def list_(email: str, as_json: bool) -> None:
    """List the CLI tokens of a user that still work."""
    with reading(db.session):
        user_id, clock = get_user_by_email(db.session, email).id, get_core().clock
    rows = in_pages(
        db.session, lambda window: service.list_tokens(db.session, clock, user_id, window).shown(answers.token)
    )
    columns = {"token_id": "TOKEN_ID", "client_name": "CLIENT", "issued_at": "ISSUED", "expires_at": "EXPIRES"}
    print_rows(rows, columns, json_wanted=as_json)


@tokens.command("revoke")
@click.argument("token_id")
def revoke(token_id: str) -> None:
    """Revoke a CLI token; the very next request with it is refused."""
    with writing(db.session):
        if not service.revoke_token(db.session, get_core().clock, operator(), token_id):
            raise TokenNotFound(f"There is no CLI token {token_id!r} that could be revoked.")
    print_json({"token_id": token_id, "revoked": True})
