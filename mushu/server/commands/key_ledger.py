"""`flask keys check|deliveries|reconcile`: where keys are, whether they still are, and what is unfinished."""

import sys
from typing import Any

import click

from mushu.environment import Environment
from mushu.server import answers
from mushu.server.commands import hints
from mushu.server.commands.common import as_json, operator_context, print_rows
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.delivery import ledger
from mushu.server.delivery.drift import DriftChecker, DriftResult, KeyFilter
from mushu.server.delivery.models import Condition
from mushu.server.delivery.named_destinations import names_of
from mushu.server.delivery.reconciler import any_unreachable
from mushu.server.environments import within
from mushu.server.keys.service import get_key
from mushu.server.lifecycle.maintain import keep_house
from mushu.server.orgs.service import resolve_org

_DRIFT_COLUMNS = {
    "key_id": "KEY_ID",
    "name": "NAME",
    "uri": "DESTINATION",
    "condition": "CONDITION",
    "detail": "DETAIL",
}
_LEDGER = {
    "uri": "DESTINATION", "state": "STATE", "version": "VERSION", "delivered_at": "DELIVERED",
    "verified_at": "VERIFIED", "checked_at": "CHECKED", "condition": "CONDITION", "delivered_by": "BY",
    "error": "ERROR",
}  # fmt: skip
#: The exit status where something is not as the ledger says.
_DRIFT = 3


@click.command("check")
@click.argument("key_id", required=False)
@click.option("--org", help="Id or exact name of the organization; all of them if left out.")
@as_json
def check(key_id: str | None, org: str | None, as_json: bool) -> None:
    """Look whether every destination still holds its key; exit with 3 if one does not."""
    core = get_core()
    with reading(db.session):
        wanted = KeyFilter(
            resolve_org(db.session, org).id if org is not None else None,
            get_key(db.session, key_id).id if key_id is not None else None,
        )
    checker = DriftChecker(db.session, core.clock, core.open_destination)
    total = checker.count(wanted)
    quiet = not sys.stderr.isatty()  # in the mail of a timer a bar is noise
    with click.progressbar(
        checker.check(wanted), length=total, label="Checking", file=sys.stderr, hidden=quiet
    ) as results:
        rows = [_row(found) for found in results]
    print_rows(rows, _DRIFT_COLUMNS, json_wanted=as_json)
    wrong = sum(row["condition"] != Condition.OK for row in rows)
    click.echo(f"{total} destinations, {wrong} of them not as they should be.", err=True)
    if wrong:
        raise click.exceptions.Exit(_DRIFT)


@click.command("deliveries")
@click.argument("key_id")
@as_json
def deliveries(key_id: str, as_json: bool) -> None:
    """Show where a key was put, at which version, who put it there, and what was found there since."""
    with reading(db.session):
        key = get_key(db.session, key_id)
        found = ledger.list_deliveries(db.session, [key.id])
        with within(db.session, Environment(key.environment)):
            names = names_of(db.session, [delivery.uri for delivery in found])
    print_rows([answers.delivery(line, names.get(line.uri)) for line in found], _LEDGER, json_wanted=as_json)


@click.command("reconcile")
@as_json
def reconcile(as_json: bool) -> None:
    """Finish or clean up what a crash or an unreachable destination left behind, and retire what is to retire."""
    findings = keep_house(operator_context())
    rows = [{"key_id": found.key_id, "result": found.verdict.value, "detail": found.detail} for found in findings]
    if rows or as_json:
        print_rows(rows, {"key_id": "KEY_ID", "result": "RESULT", "detail": "DETAIL"}, json_wanted=as_json)
    else:
        click.echo("Nothing is unfinished.")
    if any_unreachable(findings):
        raise click.exceptions.Exit(1)


def _row(found: DriftResult) -> dict[str, Any]:
    return {
        "key_id": found.key_id,
        "name": found.key_name,
        "uri": found.uri,
        "condition": str(found.condition),
        "detail": hints.of_drift(found) or None,
    }
