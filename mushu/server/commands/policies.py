"""`flask policies`: what the gate asks on behalf of other services."""

import click
from click.core import ParameterSource

from mushu.environment import Environment
from mushu.server.commands.common import AdminGroup, ask, given, limits, no_limits, of_org, operator, yes
from mushu.server.commands.printing import as_json, print_json, print_rows
from mushu.server.core import db, get_core
from mushu.server.db import reading, writing
from mushu.server.gate import policies as service
from mushu.server.keys import Scope
from mushu.server.orgs.service import resolve_org
from mushu.server.paging import in_pages
from mushu.server.rate_limits import parse_limits

_COLUMNS = {
    "name": "NAME", "org_id": "ORG", "environment": "ENV", "scope": "SCOPE", "cli_tokens": "CLI_TOKENS",
    "limits": "LIMITS",
}  # fmt: skip

_STATUS = click.Choice([str(int(status)) for status in service.OverLimit])
_OVER = "The status of the answer beyond a limit; nginx makes 500 of 429."


@click.group(cls=AdminGroup)
def policies() -> None:
    """Policies: what the gate asks on behalf of other services."""


@policies.command("add")
@click.argument("name")
@of_org
@click.option("--any-org", is_flag=True, help="Let keys of every organization pass.")
@click.option(
    "--scope", type=click.Choice([scope.value for scope in Scope]), required=True, help="What a credential must permit."
)
@click.option(
    "--env",
    type=click.Choice([choice.value for choice in Environment]),
    default="live",
    show_default=True,
    help="Whose keys pass.",
)
@click.option("--cli-tokens", is_flag=True, help="Let CLI tokens of members pass, too.")
@limits
@click.option("--over-limit", type=_STATUS, default="403", show_default=True, help=_OVER)
def add(
    name: str,
    org: str | None,
    any_org: bool,
    scope: str,
    env: str,
    cli_tokens: bool,
    limits: tuple[str, ...],
    over_limit: str,
) -> None:
    """Add a policy, whose name a proxy then sends to /forward-auth/NAME. A name is given once, and never again."""
    source = click.get_current_context().get_parameter_source("org")
    if any_org and source is ParameterSource.COMMANDLINE:
        raise click.UsageError("Name one organization with --org, or take all with --any-org.")
    with writing(db.session):
        wanted = service.PolicyRequest(
            name=name,
            scope=Scope(scope),
            org_id=None if any_org else resolve_org(db.session, org).id,
            any_org=any_org,
            environment=Environment(env),
            cli_tokens=cli_tokens,
            limits=parse_limits(limits),
            over_limit=service.OverLimit(int(over_limit)),
        )
        policy = service.add_policy(db.session, get_core().clock, operator(), wanted)
    print_json(service.shown(policy))


@policies.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List the policies that were not removed."""
    rows = in_pages(db.session, lambda window: service.list_policies(db.session, window).shown(service.shown))
    print_rows(rows, _COLUMNS, json_wanted=as_json)


@policies.command("show")
@click.argument("name")
def show(name: str) -> None:
    """Show a policy, also a removed one."""
    with reading(db.session):
        policy = service.get_policy(db.session, name)
    print_json(service.shown(policy))


@policies.command("update")
@click.argument("name")
@limits
@no_limits
@click.option("--over-limit", type=_STATUS, help=_OVER)
def update(name: str, limits: tuple[str, ...], no_limits: bool, over_limit: str | None) -> None:
    """Change how often a policy lets pass all that it lets pass together; what is not named stays."""
    wanted = given("limit", limits, none=no_limits)
    parsed = parse_limits(wanted) if wanted is not None else None
    status = service.OverLimit(int(over_limit)) if over_limit is not None else None
    with writing(db.session):
        policy = service.limit_policy(db.session, get_core().clock, operator(), name, parsed, status)
    print_json(service.shown(policy))


@policies.command("remove")
@click.argument("name")
@yes
def remove(name: str, yes: bool) -> None:
    """Have a policy deny everybody from now on; its name is never given again."""
    with reading(db.session):
        service.get_policy(db.session, name)
    ask(f"Remove the policy {name}? What its proxy protects is closed then, and the name stays taken.", agreed=yes)
    with writing(db.session):
        policy = service.remove_policy(db.session, get_core().clock, operator(), name)
    print_json(service.shown(policy))
