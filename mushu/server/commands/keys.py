from collections.abc import Sequence

import click

from mushu.server import answers
from mushu.server.clock import parse_duration
from mushu.server.commands import ways_out
from mushu.server.commands.common import (
    AdminGroup,
    as_json,
    ask,
    note,
    operator,
    print_json,
    print_rows,
    yes,
)
from mushu.server.commands.key_ledger import check, deliveries, reconcile
from mushu.server.commands.key_rotation import rotate
from mushu.server.core import courier_for, db, get_core
from mushu.server.db import reading, writing
from mushu.server.delivery.overview import overviews
from mushu.server.delivery.recovery import Finding, any_unreachable
from mushu.server.delivery.removal import delete_key
from mushu.server.keys import service
from mushu.server.keys.activation import issue_key
from mushu.server.keys.requests import KeyRequest
from mushu.server.keys.scopes import Environment, parse_scopes
from mushu.server.keys.states import DISABLE, ENABLE, Transition
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
@click.option("--expires", metavar="DURATION", help="How long it lives, such as 90d; for ever if left out.")
@click.option("--rotate-every", metavar="DURATION", help="How often `flask keys rotate --due` replaces it, as 90d.")
@click.option("--to", "uris", multiple=True, metavar="URI", help="Deliver it there, unseen; may be repeated.")
@click.option("--show-once", is_flag=True, help="Print the key, this one time, instead of delivering it.")
@click.option("--force", is_flag=True, help="Overwrite a value that the destination holds.")
def create(
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
    core = get_core()
    with reading(db.session):
        org_id = resolve_org(db.session, org).id
    request = KeyRequest(
        org_id=org_id,
        name=name,
        scopes=parse_scopes([scope.strip() for scope in scopes.split(",") if scope.strip()])
        if scopes is not None
        else None,
        environment=Environment(env),
        expires_at=core.clock() + parse_duration(expires) if expires is not None else None,
        rotate_every=parse_duration(rotate_every) if rotate_every is not None else None,
    )
    if show_once:
        with writing(db.session):
            key, secret = issue_key(db.session, core.clock, operator(), request)
        print_json(answers.created_key(key, secret))
    else:
        key, places = courier_for(operator()).deliver(request, uris, force=force)
        print_json(answers.created_key(key, delivered_to=places))
        for warning in ways_out.of_places_of_others(db.session, key, places):
            note(warning)


@keys.command("list")
@click.option("--org", required=True, help="Id or exact name of the organization.")
@click.option("--all", "with_deleted", is_flag=True, help="Deleted and failed keys, too, with their states.")
@as_json
def list_(org: str, with_deleted: bool, as_json: bool) -> None:
    """List the keys of an organization, newest first."""
    now = get_core().clock()
    with reading(db.session):
        selection = service.Selection(with_deleted=with_deleted)
        found = list(service.iterate_keys(db.session, resolve_org(db.session, org).id, selection))
        about = overviews(db.session, [key.id for key in found])
    rows = [answers.shown_key(key, now, about[key.id]) for key in found]
    if not as_json:
        rows = [row | {"created_at": row["created_at"][:10]} for row in rows]
    print_rows(rows, _COLUMNS | ({"state": "STATE"} if with_deleted else {}), json_wanted=as_json)


@keys.command("show")
@click.argument("key_id")
def show(key_id: str) -> None:
    """Show all that may be known of a key."""
    with reading(db.session):
        key = service.get_key(db.session, key_id)
        about = overviews(db.session, [key.id])[key.id]
    print_json(answers.shown_key(key, get_core().clock(), about))


@keys.command("disable")
@click.argument("key_id")
def disable(key_id: str) -> None:
    """Refuse a key from now on, until it is enabled again."""
    _change(key_id, DISABLE)


@keys.command("enable")
@click.argument("key_id")
def enable(key_id: str) -> None:
    """Let a disabled key work again."""
    _change(key_id, ENABLE)


@keys.command("delete")
@click.argument("key_id")
@yes
@click.option("--keep-in-destination", "keep_value", is_flag=True, help="Leave the dead value where it lies.")
def delete(key_id: str, yes: bool, keep_value: bool) -> None:
    """Delete a key for good, and take its value away from where it was delivered."""
    core = get_core()
    with reading(db.session):
        key = service.get_key(db.session, key_id)
    ask(f"Delete {key.id} ({key.name}) for good? Requests with it fail at once.", agreed=yes)
    _, findings = delete_key(db.session, core.clock, operator(), core.open_destination, key_id, keep_value=keep_value)
    print_json({"key_id": key_id, "deleted": True})
    _report(findings)


for command in (rotate, check, deliveries, reconcile):
    keys.add_command(command)


def _change(key_id: str, change: Transition) -> None:
    core = get_core()
    with writing(db.session):
        key = service.change_state(db.session, core.clock, operator(), key_id, change)
        about = overviews(db.session, [key.id])[key.id]
    print_json(answers.shown_key(key, core.clock(), about))


def _report(findings: Sequence[Finding]) -> None:
    """Say on stderr what came of each destination; exit 1 if one could not be reached."""
    for found in findings:
        note(found.detail)
    if any_unreachable(findings):
        click.echo(
            "The key is deleted. `flask keys reconcile` removes its value once the destination answers.", err=True
        )
        raise click.exceptions.Exit(1)
