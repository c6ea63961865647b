"""`flask destinations`: the named destinations of an organization."""

from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import click

from mushu.environment import Environment
from mushu.server import destinations as service
from mushu.server.clock import rfc3339
from mushu.server.commands.common import AdminGroup, ask, of_org, operator, yes
from mushu.server.commands.given_settings import read_settings, settings_options
from mushu.server.commands.printing import as_json, note, print_json, print_rows
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.delivery.inspection import ContentKind, inspect, true_uri
from mushu.server.delivery.named_destinations import add_named, forget_settings, living_at, remove_named
from mushu.server.delivery.preflight import refuse_holder
from mushu.server.destinations import DestinationRow
from mushu.server.environments import set_environment, within
from mushu.server.errors import DestinationHeld, DestinationNotFound, Invalid, SealingFailed
from mushu.server.orgs.service import resolve_org
from mushu.server.paging import Page, Window, in_pages

_COLUMNS = {"name": "NAME", "environment": "ENV", "uri": "URI", "settings": "SETTINGS", "keys": "KEYS"}
#: Exit status: what was looked at is not as it should be.
_WRONG = 3

of_environment = click.option(
    "--env",
    type=click.Choice([choice.value for choice in Environment]),
    default="live",
    show_default=True,
    help="Whose keys are delivered there.",
)


@click.group(cls=AdminGroup)
def destinations() -> None:
    """Destinations with a name: the only places that keys are delivered to over HTTP."""


@destinations.command("add")
@click.argument("name")
@click.argument("uri")
@of_org
@of_environment
@settings_options
def add(
    name: str,
    uri: str,
    org: str | None,
    env: str,
    given: tuple[str, ...],
    files: tuple[str, ...],
    asked: tuple[str, ...],
) -> None:
    """Give a place a name, and what is needed to get in there, which is kept encrypted.

    It is for keys of one environment only: the other can have another place under the same name.
    """
    core, settings = get_core(), read_settings(given, files, asked)
    with reading(db.session):
        place = service.DestinationRequest(resolve_org(db.session, org).id, name, uri, settings, Environment(env))
    service.check(place)  # before a plugin sees any of it
    place = replace(place, uri=true_uri(uri, settings, Path.cwd()))
    with writing(db.session):
        forget_settings(db.session, core.clock)
        found = add_named(db.session, core.clock, operator(), core.sealing_keys, place)
    print_json(_answer(found) | {"settings": sorted(settings)})


@destinations.command("list")
@of_org
@as_json
def list_(org: str | None, as_json: bool) -> None:
    """List the destinations of an organization, the names of their settings, and how many living keys each holds."""
    unreadable = set[str]()
    with reading(db.session):
        org_id = resolve_org(db.session, org).id
    pages = (in_pages(db.session, partial(_listed, org_id, environment, unreadable)) for environment in Environment)
    print_rows(chain.from_iterable(pages), _COLUMNS, json_wanted=as_json)
    for detail in sorted(unreadable):
        note(detail)
    if unreadable:
        raise click.exceptions.Exit(_WRONG)


def _listed(org_id: str, environment: Environment, unreadable: set[str], window: Window) -> Page[dict[str, Any]]:
    """Return a page of the list; why settings cannot be read is added to `unreadable`."""
    with within(db.session, environment):
        page = service.list_destinations(db.session, org_id, window)
    living = living_at(db.session, [destination.uri for destination in page.rows])

    def shown(destination: DestinationRow) -> dict[str, Any]:
        try:
            names = sorted(service.settings_of(destination, get_core().sealing_keys))
        except SealingFailed as error:
            names = ["unreadable"]
            unreadable.add(error.detail)
        return _answer(destination) | {"settings": names, "keys": len(living.get(destination.uri, []))}

    return page.shown(shown)


@destinations.command("set")
@click.argument("name")
@of_org
@of_environment
@settings_options
def set_(
    name: str, org: str | None, env: str, given: tuple[str, ...], files: tuple[str, ...], asked: tuple[str, ...]
) -> None:
    """Replace all settings of a destination by those that are given; none, where none is."""
    core, settings = get_core(), read_settings(given, files, asked)
    with reading(db.session):
        found = _get(org, env, name)
    if true_uri(found.uri, settings, Path.cwd()) != found.uri:
        raise Invalid(f"With these settings, {found.uri} is another place.", field="settings")
    with writing(db.session):
        found = service.get(db.session, found.org_id, name)
        service.change_settings(db.session, core.clock, operator(), core.sealing_keys, found, settings)
    print_json(_answer(found) | {"settings": sorted(settings)})


@destinations.command("check")
@click.argument("name")
@of_org
@of_environment
def check(name: str, org: str | None, env: str) -> None:
    """Try whether a key could be written there, and say what it holds; exit 3 if something is wrong."""
    core = get_core()
    with reading(db.session):
        found = _get(org, env, name)
    inspection = inspect(db.session, core.open_destination, found.uri)
    answer: dict[str, Any] = {"name": found.name, "uri": found.uri, "holds": inspection.holds}
    if inspection.key is not None:
        answer |= {
            "key_id": inspection.key.id,
            "key_name": inspection.key.name,
            "state": inspection.key.state(core.clock()),
        }
        try:
            refuse_holder(Environment(env), found.uri, inspection.key)
        except DestinationHeld as error:
            inspection.faults.append(error.detail)
    print_json(
        answer | {"faults": inspection.faults} | ({"warning": warning} if (warning := inspection.warning) else {})
    )
    if inspection.holds is ContentKind.FOREIGN:
        click.echo("With --force, `flask keys create` and `flask keys rotate` overwrite what it holds.", err=True)
    if inspection.faults:
        raise click.exceptions.Exit(_WRONG)


@destinations.command("remove")
@click.argument("name")
@of_org
@of_environment
@yes
def remove(name: str, org: str | None, env: str, yes: bool) -> None:
    """Take the name away, and with it what is needed to get in there. Refused while it holds a living key."""
    core = get_core()
    with reading(db.session):
        found = _get(org, env, name)
    ask(f"Remove the destination {found.name} ({found.uri})?", agreed=yes)
    with writing(db.session):
        remove_named(db.session, core.clock, operator(), found.org_id, name)
        forget_settings(db.session, core.clock)
    print_json({"name": found.name, "uri": found.uri, "removed": True})


def _get(org: str | None, env: str, name: str) -> DestinationRow:
    """Have the session work in an environment, and return the destination of an organization there.

    Raises:
        DestinationNotFound: there is none of this name; the sentence says where the other environment has one.
    """
    environment = Environment(env)
    org_id = resolve_org(db.session, org).id
    set_environment(db.session, environment)
    try:
        return service.get(db.session, org_id, name)
    except DestinationNotFound as error:
        other = next(one for one in Environment if one is not environment)
        with within(db.session, other):
            if service.find(db.session, org_id, name) is None:
                raise
        raise DestinationNotFound(f"{error.detail} There is a {other} one: --env {other}.", field="name") from None


def _answer(destination: DestinationRow) -> dict[str, Any]:
    return {
        "name": destination.name,
        "environment": destination.environment,
        "uri": destination.uri,
        "created_at": rfc3339(destination.created_at),
    }
