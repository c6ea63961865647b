from typing import Any, Final

import click

from mushu.cli.options import always_json, connecting, pass_session
from mushu.cli.output import print_json
from mushu.cli.session import Session

#: Takes a setting back.
_NOTHING: Final = "none"


def _listed(value: str | None) -> list[str] | str | None:
    return value if value in (None, _NOTHING) else [item.strip() for item in value.split(",") if item.strip()]


@click.command("settings")
@click.argument("org", metavar="[ORG]", required=False)
@click.option("--default-scopes", metavar="SCOPES", help="Of a new key that names none, as read,write.")
@click.option("--default-lifetime", metavar="DURATION", help="Of a new key that says nothing else, as 60d.")
@click.option("--default-rotate-every", metavar="DURATION", help="For a new key that says nothing else, as 30d.")
@click.option("--max-key-age", metavar="DURATION", help="How long a new key may live at the most, as 90d.")
@click.option("--email-domains", metavar="DOMAINS", help="Of new members' addresses, as example.com,example.org.")
@connecting
@always_json
@pass_session
def settings(
    session: Session,
    org: str | None,
    default_scopes: str | None,
    default_lifetime: str | None,
    default_rotate_every: str | None,
    max_key_age: str | None,
    email_domains: str | None,
) -> None:
    """Show the settings of an organization, or change those that are given; `none` takes one back."""
    given: dict[str, Any] = {
        "default_scopes": _listed(default_scopes),
        "default_lifetime": default_lifetime,
        "default_rotate_every": default_rotate_every,
        "max_key_age": max_key_age,
        "email_domains": _listed(email_domains),
    }
    changes = {name: None if value == _NOTHING else value for name, value in given.items() if value is not None}
    path = ("orgs", session.required_org(org), "settings")
    print_json(session.api().patch(*path, body=changes) if changes else session.api().get(*path))
