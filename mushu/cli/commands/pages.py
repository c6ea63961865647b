"""`mushu open`: the page of an organization or of a key, in a browser."""

import click

from mushu.cli.options import IdType, as_json, connecting, org, pass_session
from mushu.cli.output import print_json
from mushu.cli.session import Session
from mushu.environment import Environment
from mushu.terminal import printable

_KEY = "key_"


@click.command("open")
@click.argument("thing", metavar="[ORG|KEY]", required=False)
@org
@connecting
@as_json
@pass_session
def open_(session: Session, thing: str | None, org: str | None, as_json: bool) -> None:
    """Open the page of an organization or of a key in a browser, and print its address.

    KEY is an id. Where there is no browser, or with --json, the address is printed only.
    """
    from mushu.cli.client.device_flow import can_open_browser, open_browser

    if thing is not None and thing.startswith((_KEY, "msk_", "mct_")):
        path = _path_of_key(session, org, IdType().convert(thing, None, None))
    else:
        path = f"{session.required_org(thing or org)}/"
    address = f"{session.url().value}/dashboard/{path}"
    if as_json:
        print_json({"url": address})
        return
    click.echo(printable(address))
    if can_open_browser():
        open_browser(address)


def _path_of_key(session: Session, org: str | None, key_id: str) -> str:
    org_id = session.required_org(org)
    sandbox = "sandbox/" if session.api_keys(org_id).environment_of(key_id) is Environment.TEST else ""
    return f"{org_id}/{sandbox}keys/{key_id}"
