"""`flask users` and `flask tokens`: people, the links with which they set a password, and where they are signed in."""

import sys

import click

from mushu.secret import Secret
from mushu.server import answers
from mushu.server.commands.common import AdminGroup, operator
from mushu.server.commands.printing import as_json, print_json, print_once, print_rows
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.errors import TokenNotFound
from mushu.server.mail import INVITED, RESET, MailTemplate, send
from mushu.server.paging import in_pages
from mushu.server.tokens.service import list_tokens, revoke_token
from mushu.server.users import service
from mushu.server.users.links import issue_link
from mushu.server.users.models import User
from mushu.server.users.service import get_user_by_email

password_stdin = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


@click.group(cls=AdminGroup)
def users() -> None:
    """People who can sign in."""


@users.command("create")
@click.option("--email", required=True, help="The address the user signs in with.")
@click.option("--name", help="The user's name.")
@password_stdin
def create(email: str, name: str | None, password_stdin: bool) -> None:
    """Create a user; without a password, nobody can sign in as them until one is set."""
    core = get_core()
    password_hash = core.passwords.hash(_read_password(from_stdin=True)) if password_stdin else None
    with writing(db.session):
        user = service.create_user(db.session, core.clock, operator(), email, name)
        if password_hash is not None:
            service.set_password(db.session, core.clock, operator(), user, password_hash)
    print_json(_answer(user))


@users.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List all users."""
    rows = in_pages(db.session, lambda window: service.list_users(db.session, window).shown(_answer))
    columns = {"user_id": "USER_ID", "email": "EMAIL", "name": "NAME", "status": "STATUS", "operator": "OPERATOR"}
    columns |= {"created_at": "CREATED"}
    print_rows(rows, columns, json_wanted=as_json)


@users.command("set-password")
@click.argument("email")
@password_stdin
def set_password(email: str, password_stdin: bool) -> None:
    """Set a user's password; the user's CLI tokens end at once."""
    core = get_core()
    with reading(db.session):
        service.get_user_by_email(db.session, email)
    password_hash = core.passwords.hash(_read_password(from_stdin=password_stdin))
    with writing(db.session):
        user = service.get_user_by_email(db.session, email)
        service.set_password(db.session, core.clock, operator(), user, password_hash)
    print_json(_answer(user))


@users.command("disable")
@click.argument("email")
def disable(email: str) -> None:
    """Shut a user out at once."""
    with writing(db.session):
        user = service.get_user_by_email(db.session, email)
        service.disable_user(db.session, get_core().clock, operator(), user)
    print_json(_answer(user))


@users.command("enable")
@click.argument("email")
def enable(email: str) -> None:
    """Let a disabled user sign in again."""
    with writing(db.session):
        user = service.get_user_by_email(db.session, email)
        service.enable_user(db.session, get_core().clock, operator(), user)
    print_json(_answer(user))


@users.command("invite")
@click.argument("email")
@click.option("--name", help="The user's name.")
def invite(email: str, name: str | None) -> None:
    """Create a user, and give them a link with which they set their password."""
    core = get_core()
    with writing(db.session):
        user = service.create_user(db.session, core.clock, operator(), email, name)
        secret = issue_link(db.session, core.clock, operator(), user)
    _hand_over(user, secret, INVITED)


@users.command("reset")
@click.argument("email")
def reset(email: str) -> None:
    """Give a user a link with which they set a new password; the old one works until then."""
    core = get_core()
    with writing(db.session):
        user = service.get_user_by_email(db.session, email)
        secret = issue_link(db.session, core.clock, operator(), user)
    _hand_over(user, secret, RESET)


@users.group("operator")
def operators() -> None:
    """Users who may change over HTTP what belongs to the server, such as policies."""


@operators.command("add")
@click.argument("email")
def add_operator(email: str) -> None:
    """Make a user an operator of this server."""
    with writing(db.session):
        user = service.get_user_by_email(db.session, email)
        service.add_operator(db.session, get_core().clock, operator(), user)
    print_json(_answer(user))


@operators.command("remove")
@click.argument("email")
def remove_operator(email: str) -> None:
    """Take that away; the user's next request is refused."""
    with writing(db.session):
        user = service.get_user_by_email(db.session, email)
        service.remove_operator(db.session, get_core().clock, operator(), user)
    print_json(_answer(user))


def _hand_over(user: User, secret: Secret, template: MailTemplate) -> None:
    """Mail the link where there is a mail server, and print it where there is none, or where mailing failed."""
    settings = get_core().settings
    link = f"{settings.base_url}/password/{secret.reveal()}"
    answer = _answer(user)
    if settings.smtp_url:
        send(settings, user.email, template, link)
        print_json(answer | {"mailed_to": user.email})
    else:
        print_once(
            answer | {"link": link}, lambda: f"`flask users reset {user.email}` gives another, and ends this one."
        )


def _answer(user: User) -> answers.Answer:
    if user.disabled_at is not None:
        status = "disabled"
    else:
        status = "active" if user.password_hash is not None else "no password"
    shown = answers.user(user)
    fields = {field: shown[field] for field in ("user_id", "email", "name", "created_at")}
    return fields | {"status": status, "operator": user.operator_since is not None}


def _read_password(*, from_stdin: bool) -> Secret:
    """Return a password from standard input or, asked for twice, from the terminal; never from an argument."""
    if from_stdin:
        return Secret(sys.stdin.readline().rstrip("\r\n"))
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on. Use --password-stdin.")
    from mushu.server.users.passwords import MIN_LENGTH  # Argon2 is not loaded by commands that set no password

    prompt = f"Password (at least {MIN_LENGTH} characters)"
    return Secret(click.prompt(prompt, hide_input=True, confirmation_prompt="The same again"))


@click.group(cls=AdminGroup)
def tokens() -> None:
    """CLI tokens: who is signed in at a terminal."""


@tokens.command("list")
@click.argument("email")
@as_json
def list_tokens_of(email: str, as_json: bool) -> None:
    """List the CLI tokens of a user that still work."""
    with reading(db.session):
        user_id, clock = get_user_by_email(db.session, email).id, get_core().clock
    rows = in_pages(db.session, lambda window: list_tokens(db.session, clock, user_id, window).shown(answers.token))
    columns = {"token_id": "TOKEN_ID", "client_name": "CLIENT", "issued_at": "ISSUED", "expires_at": "EXPIRES"}
    print_rows(rows, columns, json_wanted=as_json)


@tokens.command("revoke")
@click.argument("token_id")
def revoke(token_id: str) -> None:
    """Revoke a CLI token; the very next request with it is refused."""
    with writing(db.session):
        if not revoke_token(db.session, get_core().clock, operator(), token_id):
            raise TokenNotFound(f"There is no CLI token {token_id!r} that could be revoked.")
    print_json({"token_id": token_id, "revoked": True})
