"""`mushu audit`: the audit trail of an organization."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

import click

from mushu.batching import batches
from mushu.cli.answers import Answer
from mushu.cli.options import MomentType, as_json, connecting, org, pass_session
from mushu.cli.output import Column, print_rows
from mushu.cli.session import Session
from mushu.printing import emit

_COLUMNS: Final = (
    Column("at", "AT"),
    Column("action", "ACTION"),
    Column("actor_kind", "BY"),
    Column("actor_id", "ACTOR"),
    Column("target_id", "TARGET"),
)
_CSV: Final = ("event_id", "at", "action", "actor_kind", "actor_id", "target_id", "org_id", "details")


@click.group()
def audit() -> None:
    """The audit trail: who changed what, and when."""


@audit.command("list")
@org
@click.option("--action", help="What was done, as key.deleted, or key for all that was done to keys.")
@click.option("--actor", help="Who did it: an id, or user, api_key, operator, system.")
@click.option("--key", metavar="KEY_ID", help="What was done to this key, and what it did.")
@click.option("--since", type=MomentType(), help="From then on, as 2026-01-15T10:30:00Z, or 7d for so long ago.")
@click.option("--until", type=MomentType(), help="Before then.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with the details as JSON in the last column.")
@connecting
@as_json
@pass_session
def list_(
    session: Session,
    org: str | None,
    action: str | None,
    actor: str | None,
    key: str | None,
    since: datetime | None,
    until: datetime | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """List what was changed in an organization, newest first; --json and --csv show the details, too."""
    if as_csv and as_json:
        raise click.UsageError("Print CSV (--csv) or JSON (--json). One of the two.")
    moments = {
        field: moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment is not None else None
        for field, moment in (("since", since), ("until", until))
    }
    asked = {"action": action, "actor": actor, "key": key} | moments
    query = {field: value for field, value in asked.items() if value is not None}
    rows = session.api().rows(("orgs", session.required_org(org), "audit"), "events", query)
    if as_csv:
        _print_csv(rows)
    else:
        print_rows(_COLUMNS, rows, json_wanted=as_json)


def _print_csv(rows: Iterable[Answer]) -> None:
    """Print the rows as RFC 4180 has it, as they come; what the server did not tell is empty."""
    emit(",".join(_CSV))
    for batch in batches(rows):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(list(_cells(row)) for row in batch)
        emit(text.getvalue().removesuffix("\n"))


def _cells(row: Answer) -> Iterator[str]:
    """Yield the cells; JSON in ASCII can neither steer a terminal nor be a formula of a spreadsheet."""
    for field in _CSV:
        value = row.get(field)
        plain = isinstance(value, str) and value.isascii() and value.isprintable() and value[:1].isalnum()
        yield "" if value is None else str(value) if plain else json.dumps(value)
