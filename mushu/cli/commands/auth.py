"""`mushu auth`: log in by a browser or with a password, log out, and say who is logged in."""

import os
import sys

import click

from mushu.cli import config
from mushu.cli.credential_store import StoredLogin, forget, remember
from mushu.cli.errors import Failure, Refused, Unreachable
from mushu.cli.options import as_json, connecting, pass_session
from mushu.cli.output import colour, note, print_json, say
from mushu.cli.session import URL_VARIABLE, Session
from mushu.printing import emit
from mushu.secret import Secret
from mushu.terminal import printable

_UNAUTHORIZED = 401


@click.group()
def auth() -> None:
    """Log in to a server and out of it; a login lasts 12 hours."""


@auth.command("login")
@connecting
@click.option("--no-browser", is_flag=True, help="Show the address only, for a browser elsewhere.")
@click.option("--email", metavar="EMAIL", help="Log in with a password instead of a browser.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@as_json
@pass_session
def login(session: Session, no_browser: bool, email: str | None, password_stdin: bool, as_json: bool) -> None:
    """Log in, by confirming a code in a browser."""
    if password_stdin and not email:
        raise click.UsageError("--password-stdin needs --email.")
    if email:
        found = _by_password(session, email, _password(session, email, from_stdin=password_stdin))
    else:
        found = _by_browser(session, no_browser=no_browser)
    url = session.url().value
    remember(url, found)
    _remember_server(session)
    if as_json:
        print_json(_status(url, found))
    else:
        say(f"Logged in to {url} as {found.email}, until {found.expires_at}.")


@auth.command("logout")
@connecting
@as_json
@pass_session
def logout(session: Session, as_json: bool) -> None:
    """End the login, on the server and here."""
    api, url = session.api(), session.url().value
    remaining: Failure | None = None
    try:
        api.post("auth", "logout")
    except Refused as refusal:
        remaining = None if refusal.status == _UNAUTHORIZED else refusal
    except Failure as failure:
        remaining = failure
    forget(url)
    if remaining is not None:
        raise Failure(
            f"The login was forgotten here, but the server was not told, and lets it end by itself: {remaining.message}"
        )
    if as_json:
        print_json({"url": url, "logged_in": False})
    else:
        say(f"Logged out of {url}.")


@auth.command("status")
@connecting
@as_json
@pass_session
def status(session: Session, as_json: bool) -> None:
    """Say who is logged in where, having asked the server."""
    url, found = session.url().value, session.login()
    if as_json and found is None:
        print_json({"url": url, "logged_in": False})
        raise click.exceptions.Exit(1)
    api, login = session.api(), session.required_login()
    try:
        api.get("auth", "validate")
    except Unreachable as failure:
        raise Unreachable(f"{failure.message} Stored for it is the login of {login.email}.") from None
    if as_json:
        print_json(_status(url, login))
    else:
        say(f"Logged in to {url} as {login.email} ({login.user_id}), until {login.expires_at}.")


@auth.command("token")
@connecting
@as_json
@pass_session
def token(session: Session, as_json: bool) -> None:
    """Print the token of the login, for another program: curl -H "Authorization: Bearer $(mushu auth token)" …"""
    found = session.required_login()
    if sys.stdout.isatty():
        note("This token is as good as your login until it ends. Better: let a program have it, as in $(…).")
    if as_json:
        print_json({"access_token": found.token.reveal(), "expires_at": found.expires_at})
    else:
        emit(found.token.reveal())


def _by_password(session: Session, email: str, password: Secret) -> StoredLogin:
    return StoredLogin.of(session.anonymous().post("auth", "login", body={"email": email, "password": password}))


def _password(session: Session, email: str, *, from_stdin: bool) -> Secret:
    """Return the password from standard input or, asked for, from the terminal; never from an argument.

    A person at the terminal is told which server gets it, which may be the default. A script reads nothing, so there
    somebody must have named the server. (Signing in by the browser sends nothing that is worth anything elsewhere.)
    """
    if from_stdin:
        session.refuse_unnamed("A password")
        return Secret(sys.stdin.readline().rstrip("\r\n"))
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask for the password on. Add --password-stdin.")
    question = f"Password of {printable(email)} at {session.url().value}"
    return Secret(click.prompt(question, hide_input=True, err=True))


def _by_browser(session: Session, *, no_browser: bool) -> StoredLogin:
    from mushu.cli.client.device_flow import await_confirmation, can_open_browser, open_browser, request_code

    api = session.anonymous()
    code = request_code(api)
    user_code = click.style(code.user_code, bold=True)
    click.echo(f"In a browser, confirm the code {user_code} at\n{printable(code.address)}", err=True, color=colour())
    if not no_browser and can_open_browser():
        open_browser(code.complete_address)
    return await_confirmation(api, code)


def _remember_server(session: Session) -> None:
    """Make the first server that is named the one that every command asks."""
    if session.url_option is None or os.environ.get(URL_VARIABLE):
        return
    with config.changing(config.CONFIG) as remembered:
        if not remembered.get(config.URL):
            remembered[config.URL] = session.url_option
            note(f"From now on commands ask {session.url_option}; `mushu config set url URL` changes that.")


def _status(url: str, login: StoredLogin) -> dict[str, object]:
    return {
        "url": url,
        "logged_in": True,
        "user_id": login.user_id,
        "email": login.email,
        "expires_at": login.expires_at,
    }
