"""`flask keys list` and `flask keys usage`: which keys there are, and how they are used."""

import sys
from dataclasses import replace
from datetime import datetime

import click

from mushu.environment import Environment
from mushu.printing import emit
from mushu.server import answers
from mushu.server.commands.common import of_org
from mushu.server.commands.printing import as_json, print_json, print_rows
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.keys import Scope, service
from mushu.server.keys.service import StateAt
from mushu.server.keys.states import State
from mushu.server.orgs.service import resolve_org
from mushu.server.paging import Window, in_pages
from mushu.terminal import printable
from mushu.usage_chart import usage_lines

_COLUMNS = {"key_id": "KEY_ID", "name": "NAME", "scopes": "SCOPES", "created_at": "CREATED"}


@click.command("list")
@of_org
@click.option("--all", "with_deleted", is_flag=True, help="Deleted and failed keys, too, with their states.")
@click.option("--name", metavar="TEXT", help="Only keys whose name holds this text, in these very letters.")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only keys in this state.")
@click.option("--scope", type=click.Choice([scope.value for scope in Scope]), help="Only keys with this scope.")
@click.option("--env", type=click.Choice([e.value for e in Environment]), help="Only keys of this environment.")
@as_json
def list_keys(
    org: str | None,
    with_deleted: bool,
    name: str | None,
    state: str | None,
    scope: str | None,
    env: str | None,
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
    with reading(db.session):
        org_id = resolve_org(db.session, org).id
    columns = dict(_COLUMNS)
    if not as_json and _is_mixed(now, org_id, selection):
        columns["environment"] = "ENV"
    if with_deleted or state is not None:
        columns["state"] = "STATE"
    rows = in_pages(db.session, lambda window: answers.key_page(db.session, now, org_id, selection, window))
    if not as_json:
        rows = (row | {"created_at": row["created_at"][:10]} for row in rows)
    print_rows(rows, columns, json_wanted=as_json)


def _is_mixed(now: datetime, org_id: str, selection: service.Selection) -> bool:
    """Tell whether keys of both environments are selected."""
    with reading(db.session):
        return len(selection.environments) > 1 and all(
            answers.key_page(db.session, now, org_id, replace(selection, environments=(one,)), Window(1)).rows
            for one in selection.environments
        )


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
        return
    for line in usage_lines(answer, sys.stdout.encoding):
        emit(printable(line))
