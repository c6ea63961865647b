"""`flask keys list`, `summary` and `usage`: which keys there are, how many, and how they are used."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import reduce
from typing import Any, Final

import click

from mushu.environment import Environment
from mushu.printing import emit
from mushu.server import answers
from mushu.server.clock import parse_duration
from mushu.server.commands.common import of_org
from mushu.server.commands.printing import as_json, print_json, print_rows
from mushu.server.core import db, get_core
from mushu.server.db import reading
from mushu.server.delivery.named_destinations import uris_at
from mushu.server.hygiene import Hygiene, Sort
from mushu.server.keys import Scope, service
from mushu.server.keys.selection import Selection, StateAt
from mushu.server.keys.states import State
from mushu.server.orgs.service import resolve_org
from mushu.server.paging import in_pages
from mushu.terminal import printable
from mushu.usage_chart import summary_lines, usage_lines

_COLUMNS = {"key_id": "KEY_ID", "name": "NAME", "scopes": "SCOPES", "created_at": "CREATED"}
#: Of these, a table shows the day.
_DAYS = ("created_at", "expires_at", "last_used_at")


_FILTERS: Final = (
    click.option("--name", metavar="TEXT", help="Only keys whose name holds this text, in these very letters."),
    click.option("--search", metavar="TEXT", help="Only keys whose name, id or last four characters hold this text."),
    click.option("--state", type=click.Choice([state.value for state in State]), help="Only keys in this state."),
    click.option("--scope", type=click.Choice([scope.value for scope in Scope]), help="Only keys with this scope."),
    click.option("--env", type=click.Choice([e.value for e in Environment]), help="Only keys of this environment."),
    click.option("--destination", metavar="NAME", help="Only keys that are there, by its name or its URI."),
    click.option("--created-by", metavar="USER", help="Only keys that this user created, by id or e-mail address."),
    click.option("--unused", is_flag=True, help="Only keys that were never used."),
    click.option("--idle", metavar="DURATION", help="Only older keys that were not used for so long, as 90d."),
    click.option("--used-within", metavar="DURATION", help="Only keys that were used within this time, as 1d."),
    click.option("--expires-within", metavar="DURATION", help="Only keys that end within this time from now, as 30d."),
    click.option("--no-expiry", is_flag=True, help="Only keys without an end."),
    click.option("--drifted", is_flag=True, help="Only keys of which a destination holds something else, or nothing."),
    click.option("--stalled", is_flag=True, help="Only keys past the deadline of their rotation."),
    click.option("--owner-left", is_flag=True, help="Only keys whose owner is disabled or no member any more."),
)


def with_filters(command: Callable[..., None]) -> Callable[..., None]:
    """Have a command take the filters of keys."""
    return reduce(lambda made, option: option(made), reversed(_FILTERS), command)


@click.command("list")
@of_org
@click.option("--all", "with_deleted", is_flag=True, help="Deleted and failed keys, too, with their states.")
@with_filters
@click.option("--sort", type=click.Choice([sort.value for sort in Sort]), default="created", help="By what; created.")
@as_json
def list_keys(org: str | None, with_deleted: bool, sort: str, as_json: bool, **filters: Any) -> None:
    """List the keys of an organization, newest first."""
    now = get_core().clock()
    org_id, selection, hygiene = _meant(org, now, with_deleted=with_deleted, **filters)
    env, by = filters["env"], Sort(sort)

    def found(*environments: Environment) -> Iterator[answers.Answer]:
        some = replace(selection, environments=environments)
        return in_pages(db.session, lambda window: answers.key_page(db.session, now, org_id, some, hygiene, window, by))

    columns = dict(_COLUMNS)
    if not as_json and env is None and all(any(True for _ in found(one)) for one in Environment):
        columns["environment"] = "ENV"
    if with_deleted or filters["state"] is not None:
        columns["state"] = "STATE"
    if hygiene.is_asked or by is not Sort.CREATED:
        columns |= {"expires_at": "EXPIRES", "last_used_at": "LAST_USED"}
    rows = found(*selection.environments)
    if not as_json:
        rows = (row | {field: row[field][:10] for field in _DAYS if field in row} for row in rows)
    print_rows(rows, columns, json_wanted=as_json)


@click.command("summary")
@of_org
@with_filters
@as_json
def summarize_keys(org: str | None, as_json: bool, **filters: Any) -> None:
    """Count the keys of an organization, those that somebody should look at, and their requests."""
    now = get_core().clock()
    org_id, selection, hygiene = _meant(org, now, with_deleted=False, **filters)
    with reading(db.session):
        answer = answers.key_summary(db.session, now, org_id, selection, hygiene)
    if as_json:
        print_json(answer)
    else:
        emit("\n".join(map(printable, summary_lines(answer))))


def _meant(
    org: str | None,
    now: datetime,
    *,
    with_deleted: bool,
    env: str | None,
    state: str | None,
    scope: str | None,
    destination: str | None,
    name: str | None,
    search: str | None,
    **kinds: Any,
) -> tuple[str, Selection, Hygiene]:
    """Return which organization is meant, and which of its keys."""
    environments = tuple(Environment) if env is None else (Environment(env),)
    for length in ("idle", "used_within", "expires_within"):
        kinds[length] = parse_duration(kinds[length]) if kinds[length] is not None else None
    with reading(db.session):
        org_id = resolve_org(db.session, org).id
        at = uris_at(db.session, org_id, environments, destination) if destination is not None else None
    selection = Selection(
        environments,
        with_deleted=with_deleted,
        name=name,
        search=search,
        state=StateAt(State(state), now) if state is not None else None,
        scope=Scope(scope) if scope is not None else None,
    )
    return org_id, selection, Hygiene(at=at, **kinds)


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
