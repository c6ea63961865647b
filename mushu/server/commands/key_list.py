"""`flask keys list` and `flask keys usage`: which keys there are, and how they are used."""

from collections.abc import Iterator
from dataclasses import replace

import click

from mushu.environment import Environment
from mushu.printing import emit
from mushu.server import answers
from mushu.server.clock import parse_duration
from mushu.server.commands.common import of_org
from mushu.server.commands.printing import as_json, print_json, print_rows
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.hygiene import Hygiene
from mushu.server.keys import Scope, service
from mushu.server.keys.service import StateAt
from mushu.server.keys.states import State
from mushu.server.orgs.service import resolve_org
from mushu.server.paging import in_pages
from mushu.terminal import printable
from mushu.usage_chart import usage_lines

_COLUMNS = {"key_id": "KEY_ID", "name": "NAME", "scopes": "SCOPES", "created_at": "CREATED"}
#: Of these, a table shows the day.
_DAYS = ("created_at", "expires_at", "last_used_at")


@click.command("list")
@of_org
@click.option("--all", "with_deleted", is_flag=True, help="Deleted and failed keys, too, with their states.")
@click.option("--name", metavar="TEXT", help="Only keys whose name holds this text, in these very letters.")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only keys in this state.")
@click.option("--scope", type=click.Choice([scope.value for scope in Scope]), help="Only keys with this scope.")
@click.option("--env", type=click.Choice([e.value for e in Environment]), help="Only keys of this environment.")
@click.option("--unused", is_flag=True, help="Only keys that were never used.")
@click.option("--idle", metavar="DURATION", help="Only older keys that were not used for so long, as 90d.")
@click.option("--expires-within", metavar="DURATION", help="Only keys that end within this time from now, as 30d.")
@click.option("--no-expiry", is_flag=True, help="Only keys without an end.")
@click.option("--drifted", is_flag=True, help="Only keys of which a destination holds something else, or nothing.")
@click.option("--stalled", is_flag=True, help="Only keys past the deadline of their rotation.")
@click.option("--owner-left", is_flag=True, help="Only keys whose owner is disabled or no member any more.")
@as_json
def list_keys(
    org: str | None,
    with_deleted: bool,
    name: str | None,
    state: str | None,
    scope: str | None,
    env: str | None,
    unused: bool,
    idle: str | None,
    expires_within: str | None,
    no_expiry: bool,
    drifted: bool,
    stalled: bool,
    owner_left: bool,
    as_json: bool,
) -> None:
    """List the keys of an organization, newest first."""
    now = get_core().clock()
    selection = service.Selection(
        tuple(Environment) if env is None else (Environment(env),),
        with_deleted=with_deleted,
        name=name,
        state=StateAt(State(state), now) if state is not None else None,
        scope=Scope(scope) if scope is not None else None,
    )
    hygiene = Hygiene(
        unused=unused,
        idle=parse_duration(idle) if idle is not None else None,
        expires_within=parse_duration(expires_within) if expires_within is not None else None,
        no_expiry=no_expiry,
        drifted=drifted,
        stalled=stalled,
        owner_left=owner_left,
    )
    with reading(db.session):
        org_id = resolve_org(db.session, org).id

    def found(*environments: Environment) -> Iterator[answers.Answer]:
        some = replace(selection, environments=environments)
        return in_pages(db.session, lambda window: answers.key_page(db.session, now, org_id, some, hygiene, window))

    columns = dict(_COLUMNS)
    if not as_json and env is None and all(any(True for _ in found(one)) for one in Environment):
        columns["environment"] = "ENV"
    if with_deleted or state is not None:
        columns["state"] = "STATE"
    if hygiene.is_asked:
        columns |= {"expires_at": "EXPIRES", "last_used_at": "LAST_USED"}
    rows = found(*selection.environments)
    if not as_json:
        rows = (row | {field: row[field][:10] for field in _DAYS if field in row} for row in rows)
    print_rows(rows, columns, json_wanted=as_json)


@click.command("usage")
@click.argument("key_id")
@as_json
def show_usage(key_id: str, as_json: bool) -> None:
    """Show how often a key is used, when, from where, and what is refused to it or unusual."""
    with reading(db.session):
        key = service.get_key(db.session, key_id)
        answer = answers.usage(db.session, get_core().clock(), key)
    if as_json:
        print_json(answer)
    else:
        emit("\n".join(map(printable, usage_lines(answer))))
