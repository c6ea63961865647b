"""Tenants: the apps that notifications are sent to, and their credentials for Apple's push service."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mushu.cli.answers import newest_first, without_secrets
from mushu.cli.config import TENANTS, choose_at
from mushu.cli.options import IdType, always_json, as_json, ask, connecting, env, org, pass_session, yes
from mushu.cli.output import Column, note, print_json, print_rows, say
from mushu.cli.session import Session
from mushu.environment import Environment
from mushu.ownership import UntrustedFileError, open_trusted
from mushu.secret import Secret

Command = TypeVar("Command", bound=Callable[..., Any])

_COLUMNS = (
    Column("tenant_id", "TENANT_ID"),
    Column("bundle_id", "BUNDLE_ID"),
    Column("team_id", "TEAM_ID"),
    Column("environment", "ENV"),
    Column("created_at", "CREATED", is_day=True),
)
_tenant_id = click.argument("tenant_id", type=IdType())

_LARGEST: Final = 8_000
_OTHERS: Final = 0o077
_STDIN: Final = "-"


def _apple_key(*, required: bool) -> Callable[[Command], Command]:
    """Take `team_id`, `key_id` and `private_key_file`, to be handed to `read_apple_key`."""

    def decorated(command: Command) -> Command:
        for option in (_file(required=required), _key(required=required), _team(required=required)):
            command = option(command)
        return command

    return decorated


def _team(*, required: bool) -> Callable[[Command], Command]:
    return click.option("--team-id", required=required, help="Apple's name for the team: ten capitals and digits.")


def _key(*, required: bool) -> Callable[[Command], Command]:
    return click.option("--key-id", "-k", required=required, help="Apple's name for the key: ten capitals and digits.")


def _file(*, required: bool) -> Callable[[Command], Command]:
    return click.option(
        "--private-key-file", "--key-file", "-f", "private_key_file",
        metavar="FILE", required=required, help="The AuthKey_….p8 that Apple gave out; - reads standard input.",
    )  # fmt: skip


@click.group()
def tenant() -> None:
    """Tenants: the apps that notifications are sent to."""


@tenant.command("create")
@click.option("--bundle-id", "-b", required=True, help="Apple's name for the app, such as com.example.shop.")
@_apple_key(required=False)
@click.option("--sandbox/--production", "use_sandbox", default=None, help="Which of Apple's servers; production.")
@org
@env
@connecting
@always_json
@pass_session
def create(
    session: Session,
    bundle_id: str,
    team_id: str | None,
    key_id: str | None,
    private_key_file: str | None,
    use_sandbox: bool | None,
    org: str | None,
    env: Environment | None,
) -> None:
    """Create a tenant; without Apple's credentials, its notifications go to its outbox."""
    body: dict[str, Any] = {"bundle_id": bundle_id} | (_read_apple_key(team_id, key_id, private_key_file) or {})
    environments = session.environments()
    api = environments.one(env)
    if use_sandbox is not None:
        body["use_sandbox"] = use_sandbox
    # An API key belongs to one organization, and the server knows which.
    if org is not None or not environments.credential.is_key:
        body["org_id"] = session.org_of(environments, org)
    print_json(without_secrets(api.post_idempotent("tenants", body=body)))


@tenant.command("list")
@org
@connecting
@as_json
@pass_session
def list_(session: Session, org: str | None, as_json: bool) -> None:
    """List the tenants of an organization, newest first, live and test."""
    environments = session.environments()
    org_id = session.org_of(environments, org)
    lists = [api.rows("orgs", org_id, "tenants", field="tenants") for api in environments.all]
    print_rows(_COLUMNS, newest_first(lists, "tenant_id"), json_wanted=as_json)


@tenant.command("show")
@_tenant_id
@connecting
@always_json
@pass_session
def show(session: Session, tenant_id: str) -> None:
    """Show a tenant; its private key is shown to nobody."""
    found = session.environments().in_any(f"tenant {tenant_id}", lambda api: api.get("tenants", tenant_id))
    print_json(without_secrets(found))


@tenant.command("use")
@_tenant_id
@connecting
@as_json
@pass_session
def use(session: Session, tenant_id: str, as_json: bool) -> None:
    """Make a tenant the one that every command is about, on this server."""
    found = session.environments().in_any(f"tenant {tenant_id}", lambda api: api.get("tenants", tenant_id))
    url = session.url().value
    choose_at(url, TENANTS, tenant_id)
    if as_json:
        print_json({"tenant_id": tenant_id, "bundle_id": found.get("bundle_id")})
    else:
        say(f"Commands to {url} are about {tenant_id} ({found.get('bundle_id')}) from now on.")


@tenant.command("delete")
@_tenant_id
@yes
@connecting
@always_json
@pass_session
def delete(session: Session, tenant_id: str, yes: bool) -> None:
    """Delete a tenant with its credentials, its devices and its media."""
    environments = session.environments()
    ask(f"Delete {tenant_id}, with its credentials, its devices and its media?", agreed=yes)
    environments.in_any(f"tenant {tenant_id}", lambda api: api.delete("tenants", tenant_id))
    print_json({"tenant_id": tenant_id, "deleted": True})


@tenant.group("credentials")
def credentials() -> None:
    """What a tenant signs with at Apple's push service."""


@credentials.command("set")
@_tenant_id
@_apple_key(required=True)
@connecting
@always_json
@pass_session
def set_(session: Session, tenant_id: str, team_id: str, key_id: str, private_key_file: str) -> None:
    """Give a tenant other credentials: from the next notification on."""
    _change(session, tenant_id, _read_apple_key(team_id, key_id, private_key_file) or {})


@credentials.command("clear")
@_tenant_id
@yes
@connecting
@always_json
@pass_session
def clear(session: Session, tenant_id: str, yes: bool) -> None:
    """Take a tenant's credentials away: its notifications go to its outbox."""
    ask(f"Take the credentials of {tenant_id} away? Nothing is sent to devices any more.", agreed=yes)
    _change(session, tenant_id, dict.fromkeys(("team_id", "key_id", "private_key")))


def _change(session: Session, tenant_id: str, change: dict[str, Any]) -> None:
    changed = session.environments().in_any(
        f"tenant {tenant_id}", lambda api: api.patch("tenants", tenant_id, body=change)
    )
    print_json(without_secrets(changed))


def _read_apple_key(team_id: str | None, key_id: str | None, file: str | None) -> dict[str, Any] | None:
    """Return the fields of a request, the key wrapped; None where nothing is given.

    Raises:
        UsageError: only a part of them is given, or the file holds no key.
    """
    if not team_id and not key_id and not file:
        return None
    if not team_id or not key_id or not file:
        raise click.UsageError("--team-id, --key-id and --private-key-file go together: all three, or none.")
    return {"team_id": team_id, "key_id": key_id, "private_key": _private_key(file)}


def _private_key(file: str) -> Secret:
    """Return the content of the file, or of standard input.

    Raises:
        UsageError: it cannot be read, is too large for a key, or others could have written it.
    """
    if file == _STDIN:
        if sys.stdin.isatty():  # what is pasted at a terminal is shown there
            raise click.UsageError("Pipe the key in (mushu … --private-key-file - < AuthKey.p8), or name its file.")
        text = sys.stdin.read(_LARGEST + 1)
    else:
        try:
            text = _content(Path(file))
        except UntrustedFileError as error:
            raise click.BadParameter(str(error), param_hint="'--private-key-file'") from None
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise click.BadParameter(f"{file} cannot be read: {reason}.", param_hint="'--private-key-file'") from None
    if not text.strip() or len(text) > _LARGEST:
        raise click.BadParameter(
            "that is no private key. Apple hands it out once, as a file AuthKey_….p8.",
            param_hint="'--private-key-file'",
        )
    return Secret(text)


def _content(path: Path) -> str:
    with open_trusted(path) as opened:
        if stat.S_IMODE(os.fstat(opened.fileno()).st_mode) & _OTHERS:
            note(f"{path} can be read by others. `chmod 600 {path}`, or remove it once it is here.")
        return opened.read(_LARGEST + 1).decode("ascii")
