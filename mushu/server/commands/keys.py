"""`flask keys create|list|show|disable|enable|delete`, and the group to which the other commands of keys belong."""

from collections.abc import Sequence

import click

from mushu.environment import Environment
from mushu.server import answers
from mushu.server.clock import parse_duration
from mushu.server.commands.common import (
    AdminGroup,
    as_json,
    ask,
    note,
    operator_context,
    print_done,
    print_json,
    print_rows,
    yes,
)
from mushu.server.commands.key_ledger import check, deliveries, reconcile
from mushu.server.commands.key_rotation import print_minted, rotate_key
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.delivery.reconciler import Finding, any_unreachable
from mushu.server.keys import service
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.keys.scopes import parse_scopes
from mushu.server.lifecycle.change import disable, enable
from mushu.server.lifecycle.context import DeliveryChoice, DeliveryMode
from mushu.server.lifecycle.delete import delete
from mushu.server.lifecycle.issue import issue
from mushu.server.orgs.service import resolve_org

_COLUMNS = {"key_id": "KEY_ID", "name": "NAME", "scopes": "SCOPES", "created_at": "CREATED"}


@click.group(cls=AdminGroup)
def keys() -> None:
    """API keys: mint them, and put them straight where they are used."""


@keys.command("create")
@click.option("--org", required=True, help="Id or exact name of the organization.")
@click.option("--name", required=True, help="What the key is for.")
@click.option("--scopes", help="Of read, write, admin; read,write, or what the organization has settled, if left out.")
@click.option("--env", type=click.Choice([e.value for e in Environment]), default="live", show_default=True)
@click.option("--expires", metavar="DURATION", help="How long it lives, such as 90d; without an end if left out.")
@click.option("--rotate-every", metavar="DURATION", help="How often `flask keys rotate --due` replaces it, as 90d.")
@click.option("--to", "uris", multiple=True, metavar="URI", help="Deliver it there, unseen; may be repeated.")
@click.option("--show-once", is_flag=True, help="Print the key, this one time, instead of delivering it.")
@click.option("--force", is_flag=True, help="Overwrite a value that the destination holds.")
def create_key(
    org: str,
    name: str,
    scopes: str | None,
    env: str,
    expires: str | None,
    rotate_every: str | None,
    uris: tuple[str, ...],
    show_once: bool,
    force: bool,
) -> None:
    """Mint a key, and deliver it (--to) or print it (--show-once)."""
    if bool(uris) == show_once:
        raise click.UsageError(
            "Say where the key goes: --to URI delivers it unseen, for example --to env:/srv/app/.env, "
            "and --show-once prints it this one time. One of the two."
        )
    with reading(db.session):
        org_id = resolve_org(db.session, org).id
    request = KeyRequest(
        org_id=org_id,
        name=name,
        scopes=parse_scopes([scope.strip() for scope in scopes.split(",") if scope.strip()])
        if scopes is not None
        else None,
        environment=Environment(env),
        expires_at=get_core().clock() + parse_duration(expires) if expires is not None else None,
        rotate_every=parse_duration(rotate_every) if rotate_every is not None else None,
    )
    mode = DeliveryMode.RESPONSE if show_once else DeliveryMode.SERVER
    print_minted(issue(operator_context(), request, DeliveryChoice(mode=mode, uris=uris, force=force)))


@keys.command("list")
@click.option("--org", required=True, help="Id or exact name of the organization.")
@click.option("--all", "with_deleted", is_flag=True, help="Deleted and failed keys, too, with their states.")
@as_json
def list_keys(org: str, with_deleted: bool, as_json: bool) -> None:
    """List the keys of an organization, newest first."""
    now = get_core().clock()
    with reading(db.session):
        selection = service.Selection(with_deleted=with_deleted)
        found = list(service.iterate_keys(db.session, resolve_org(db.session, org).id, selection))
        about = answers.overviews(db.session, [key.id for key in found])
    rows = [answers.shown_key(key, now, about[key.id]) for key in found]
    if not as_json:
        rows = [row | {"created_at": row["created_at"][:10]} for row in rows]
    print_rows(rows, _COLUMNS | ({"state": "STATE"} if with_deleted else {}), json_wanted=as_json)


@keys.command("show")
@click.argument("key_id")
def show_key(key_id: str) -> None:
    """Show all that may be known of a key."""
    with reading(db.session):
        key = service.get_key(db.session, key_id)
    _print_key(key)


@keys.command("disable")
@click.argument("key_id")
def disable_key(key_id: str) -> None:
    """Refuse a key from now on, until it is enabled again."""
    _print_key(disable(operator_context(), key_id))


@keys.command("enable")
@click.argument("key_id")
def enable_key(key_id: str) -> None:
    """Let a disabled key work again."""
    _print_key(enable(operator_context(), key_id))


@keys.command("delete")
@click.argument("key_id")
@yes
@click.option("--keep-in-destination", "keep_value", is_flag=True, help="Leave the dead value where it is.")
def delete_key(key_id: str, yes: bool, keep_value: bool) -> None:
    """Delete a key for good, and take its value away from where it was delivered."""
    with reading(db.session):
        key = service.get_key(db.session, key_id)
    ask(f"Delete {key.id} ({key.name}) for good? Requests with it fail at once.", agreed=yes)
    _, findings = delete(operator_context(), key_id, keep_value=keep_value)
    print_done({"key_id": key_id, "deleted": True})
    _report(findings)


for command in (rotate_key, check, deliveries, reconcile):
    keys.add_command(command)


def _print_key(key: ApiKey) -> None:
    with reading(db.session):
        about = answers.overviews(db.session, [key.id])[key.id]
    print_json(answers.shown_key(key, get_core().clock(), about))


def _report(findings: Sequence[Finding]) -> None:
    """Say on stderr what was done at each destination; exit 1 if one could not be reached."""
    for found in findings:
        note(found.detail)
    if any_unreachable(findings):
        click.echo(
            "The key is deleted. `flask keys reconcile` removes its value once the destination answers.", err=True
        )
        raise click.exceptions.Exit(1)
