"""`flask keys`: keys, where each one is, and what is unfinished; `key_rotation.py` has `flask keys rotate`."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

from mushu.batching import BATCH
from mushu.environment import Environment
from mushu.server import answers
from mushu.server.clock import parse_duration
from mushu.server.commands.common import (
    AdminGroup,
    ask,
    given,
    limits,
    networks,
    no_limits,
    of_org,
    operator_context,
    yes,
)
from mushu.server.commands.key_list import list_keys, show_usage, summarize_keys
from mushu.server.commands.key_output import of_drift, print_minted, put_url
from mushu.server.commands.key_rotation import rotate_key
from mushu.server.commands.printing import as_json, note, print_done, print_json, print_rows
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.delivery import ledger
from mushu.server.delivery.drift import DriftChecker, DriftResult, KeyFilter
from mushu.server.delivery.models import Condition
from mushu.server.delivery.named_destinations import names_of
from mushu.server.delivery.reconciler import Finding, any_unreachable
from mushu.server.environments import within
from mushu.server.keys import parse_networks, parse_scopes, service
from mushu.server.keys.minting import KeyRequest
from mushu.server.keys.models import ApiKey
from mushu.server.lifecycle.change import disable, enable, extend, restrict
from mushu.server.lifecycle.context import DeliveryChoice, DeliveryMode
from mushu.server.lifecycle.delete import delete
from mushu.server.lifecycle.issue import issue
from mushu.server.lifecycle.maintain import keep_house_by_key
from mushu.server.orgs.service import resolve_org
from mushu.server.rate_limits import parse_limits

_DRIFT_COLUMNS = {
    "key_id": "KEY_ID",
    "name": "NAME",
    "uri": "DESTINATION",
    "condition": "CONDITION",
    "detail": "DETAIL",
}
_LEDGER = {
    "uri": "DESTINATION", "location": "AT", "state": "STATE", "version": "VERSION", "delivered_at": "DELIVERED",
    "verified_at": "VERIFIED", "checked_at": "CHECKED", "condition": "CONDITION", "delivered_by": "BY",
    "error": "ERROR",
}  # fmt: skip
#: The exit status where something is not as the ledger says.
_DRIFT = 3
#: Takes a bar away from a terminal.
_CLEAR_LINE = "\r\033[K"


@click.group(cls=AdminGroup)
def keys() -> None:
    """API keys: mint them, and put them straight where they are used."""


@keys.command("create")
@of_org
@click.option("--name", required=True, help="What the key is for.")
@click.option("--scopes", help="Of read, write, admin; read,write, or what the organization has settled, if left out.")
@click.option("--env", type=click.Choice([e.value for e in Environment]), default="live", show_default=True)
@click.option("--expires", metavar="DURATION", help="How long it lives, such as 90d; without an end if left out.")
@click.option("--rotate-every", metavar="DURATION", help="How often `flask keys rotate --due` replaces it, as 90d.")
@limits
@networks
@click.option("--to", "uris", multiple=True, metavar="URI", help="Deliver it there, unseen; may be repeated.")
@click.option("--with-url", is_flag=True, help="With --to: put MUSHU_URL beside the key, too, where there is none.")
@click.option("--show-once", is_flag=True, help="Print the key, this one time, instead of delivering it.")
@click.option("--force", is_flag=True, help="Overwrite a value that the destination holds.")
def create_key(
    org: str | None,
    name: str,
    scopes: str | None,
    env: str,
    expires: str | None,
    rotate_every: str | None,
    limits: tuple[str, ...],
    networks: tuple[str, ...],
    uris: tuple[str, ...],
    with_url: bool,
    show_once: bool,
    force: bool,
) -> None:
    """Mint a key, and deliver it (--to) or print it (--show-once)."""
    if bool(uris) == show_once:
        raise click.UsageError(
            "Say where the key goes: --to URI delivers it unseen, for example --to env:/srv/app/.env, "
            "and --show-once prints it this one time. One of the two."
        )
    if with_url and show_once:
        raise click.UsageError("--with-url is about where the key is delivered. It needs --to.")
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
        limits=parse_limits(limits),
        networks=parse_networks(networks),
    )
    mode = DeliveryMode.RESPONSE if show_once else DeliveryMode.SERVER
    minted = issue(operator_context(), request, DeliveryChoice(mode=mode, uris=uris, force=force))
    print_minted(minted)
    if with_url:
        put_url(minted)


@keys.command("show")
@click.argument("key_id")
def show_key(key_id: str) -> None:
    """Show all that may be known of a key."""
    with reading(db.session):
        key = service.get_key(db.session, key_id)
    _print_key(key)


@keys.command("update")
@click.argument("key_id")
@limits
@no_limits
@networks
@click.option("--no-networks", is_flag=True, help="Let it be used from everywhere.")
def update_key(
    key_id: str, limits: tuple[str, ...], no_limits: bool, networks: tuple[str, ...], no_networks: bool
) -> None:
    """Change how often a key may be used, and from which networks; what is not named stays."""
    wanted = given("limit", limits, none=no_limits), given("network", networks, none=no_networks)
    parsed_limits = parse_limits(wanted[0]) if wanted[0] is not None else None
    parsed_networks = parse_networks(wanted[1]) if wanted[1] is not None else None
    _print_key(restrict(operator_context(), key_id, limits=parsed_limits, networks=parsed_networks))


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


@keys.command("extend")
@click.argument("key_id")
@click.option("--for", "duration", required=True, metavar="DURATION", help="How long from now, such as 6h.")
def extend_key(key_id: str, duration: str) -> None:
    """Let the old key of a rotation work longer; it must end later than it would, and before it expires."""
    _print_key(extend(operator_context(), key_id, get_core().clock() + parse_duration(duration)))


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


@keys.command("check")
@click.argument("key_id", required=False)
@click.option("--org", help="Id or exact name of the organization; all of them if left out.")
@as_json
def check(key_id: str | None, org: str | None, as_json: bool) -> None:
    """Look whether every destination still holds its key; exit with 3 if one does not."""
    core = get_core()
    with reading(db.session):
        wanted = KeyFilter(
            resolve_org(db.session, org).id if org is not None else None,
            service.get_key(db.session, key_id).id if key_id is not None else None,
        )
    checker = DriftChecker(db.session, core.clock, core.open_destination)
    total = checker.count(wanted)
    wrong: Counter[Condition] = Counter()  # and, as OK, what is there with a warning
    quiet = not sys.stderr.isatty()  # in the mail of a timer a bar is noise
    with click.progressbar(
        checker.check(wanted), length=total, label="Checking", file=sys.stderr, hidden=quiet
    ) as results:
        print_rows(_checked(results, wrong, quiet=quiet), _DRIFT_COLUMNS, json_wanted=as_json)
    warned = wrong.pop(Condition.OK, 0)
    warnings = f" {warned} of the others with a warning." if warned else ""
    click.echo(f"{total} destinations, {wrong.total()} of them not as they should be.{warnings}", err=True)
    if wrong:
        raise click.exceptions.Exit(_DRIFT)


def _checked(results: Iterable[DriftResult], wrong: Counter[Condition], *, quiet: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows of what was found, and count what is wrong; a bar makes room for rows that are printed."""
    for number, found in enumerate(results, 1):
        if found.condition is not Condition.OK or found.detail:
            wrong[found.condition] += 1
        if not quiet and number % BATCH == 0:
            click.echo(_CLEAR_LINE, nl=False, err=True)
        yield _row(found)
    if not quiet:
        click.echo(_CLEAR_LINE, nl=False, err=True)


@keys.command("deliveries")
@click.argument("key_id")
@as_json
def deliveries(key_id: str, as_json: bool) -> None:
    """Show where a key was put, at which version, who put it there, and what was found there since."""
    with reading(db.session):
        key = service.get_key(db.session, key_id)
        found = ledger.list_deliveries(db.session, [key.id])
        with within(db.session, Environment(key.environment)):
            names = names_of(db.session, [delivery.uri for delivery in found])
    print_rows([answers.delivery(line, names.get(line.uri)) for line in found], _LEDGER, json_wanted=as_json)


@keys.command("reconcile")
@as_json
def reconcile(as_json: bool) -> None:
    """Finish or clean up what a crash or an unreachable destination left behind, and retire what is to retire."""
    still_open: list[Finding] = []
    columns = {"key_id": "KEY_ID", "result": "RESULT", "detail": "DETAIL"}
    findings = _settled(keep_house_by_key(operator_context()), still_open)
    print_rows(findings, columns, json_wanted=as_json, nothing="Nothing is unfinished.")
    if still_open:
        raise click.exceptions.Exit(1)


def _settled(findings: Iterable[Finding], still_open: list[Finding]) -> Iterator[dict[str, Any]]:
    """Yield the rows of what was done; of what is left to do, the first finding is enough to know it."""
    for found in findings:
        if found.is_open and not still_open:
            still_open.append(found)
        yield {"key_id": found.key_id, "result": found.verdict.value, "detail": found.detail}


for command in (list_keys, rotate_key, show_usage, summarize_keys):
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


def _row(found: DriftResult) -> dict[str, Any]:
    return {
        "key_id": found.key_id,
        "name": found.key_name,
        "uri": found.uri,
        "condition": str(found.condition),
        "detail": of_drift(found) or None,
    }
