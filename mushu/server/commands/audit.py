"""`flask audit`: the audit trail."""

import click

from mushu.server import answers
from mushu.server.audit import EventFilter, list_events
from mushu.server.clock import parse_moment
from mushu.server.commands.common import AdminGroup
from mushu.server.commands.printing import as_json, print_rows
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.orgs.service import resolve_org
from mushu.server.paging import in_pages

_COLUMNS = {
    "at": "AT", "action": "ACTION", "actor_kind": "BY", "actor_id": "ACTOR", "target_id": "TARGET", "org_id": "ORG",
}  # fmt: skip


@click.group(cls=AdminGroup)
def audit() -> None:
    """The audit trail: who changed what, and when."""


@audit.command("list")
@click.option("--org", help="Id or exact name of the organization; everything if left out.")
@click.option("--action", help="What was done, as key.deleted, or key for all that was done to keys.")
@click.option("--actor", help="Who did it: an id, or user, api_key, operator, system.")
@click.option("--key", metavar="KEY_ID", help="What was done to this key, and what it did.")
@click.option("--since", metavar="MOMENT", help="From then on, as 2026-01-15T10:30:00Z, or 7d for so long ago.")
@click.option("--until", metavar="MOMENT", help="Before then.")
@as_json
def list_events_(
    org: str | None,
    action: str | None,
    actor: str | None,
    key: str | None,
    since: str | None,
    until: str | None,
    as_json: bool,
) -> None:
    """List what was changed, newest first; --json shows the details, too."""
    now = get_core().clock()
    with reading(db.session):
        org_id = resolve_org(db.session, org).id if org is not None else None
    wanted = EventFilter(
        org_id=org_id,
        action=action,
        actor=actor,
        about=key,
        since=parse_moment(since, now, "since") if since is not None else None,
        until=parse_moment(until, now, "until") if until is not None else None,
    )
    rows = in_pages(db.session, lambda window: list_events(db.session, wanted, window).shown(answers.event))
    print_rows(rows, _COLUMNS, json_wanted=as_json)
