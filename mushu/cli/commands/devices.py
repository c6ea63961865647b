"""The devices on which the users of a tenant's app can be reached."""

from collections.abc import Iterator

import click

from mushu.cli.answers import Answer
from mushu.cli.client.environments import EnvironmentApi
from mushu.cli.errors import Failure
from mushu.cli.options import always_json, as_json, connecting, pass_session, tenant
from mushu.cli.output import Column, print_json, print_rows
from mushu.cli.session import Session

_COLUMNS = (
    Column("token", "TOKEN"),
    Column("user_id", "USER_ID"),
    Column("platform", "PLATFORM"),
    Column("app_version", "VERSION"),
    Column("updated_at", "UPDATED", is_day=True),
)
_PLATFORMS = ("ios", "ipados", "macos", "tvos", "visionos", "watchos")
_token = click.option("--token", required=True, help="What Apple's push service calls the device.")


@click.group()
def device() -> None:
    """Devices: where the users of a tenant's app can be reached."""


@device.command("register")
@click.option("--user", "-u", required=True, metavar="USER_ID", help="What the app calls its user.")
@_token
@click.option("--platform", "-p", type=click.Choice(_PLATFORMS), default="ios", show_default=True)
@click.option("--version", "-v", "app_version", help="The version of the app on it.")
@tenant
@connecting
@always_json
@pass_session
def register(
    session: Session, user: str, token: str, platform: str, app_version: str | None, tenant: str | None
) -> None:
    """Register a device of a user, or tell what is new about one."""
    body = {"user_id": user, "token": token, "platform": platform, "app_version": app_version}
    tenant_id = session.required_tenant(tenant)
    print_json(
        session.environments().in_any(
            f"tenant {tenant_id}", lambda api: api.post("tenants", tenant_id, "devices", body=body)
        )
    )


@device.command("list")
@click.option("--user", "-u", metavar="USER_ID", help="Of this user only.")
@tenant
@connecting
@as_json
@pass_session
def list_(session: Session, user: str | None, tenant: str | None, as_json: bool) -> None:
    """List the devices of a tenant, or of one of its users, newest first."""
    tenant_id = session.required_tenant(tenant)
    rows = session.environments().in_any(f"tenant {tenant_id}", lambda api: _devices(api, tenant_id, user))
    print_rows(_COLUMNS, rows, json_wanted=as_json)


@device.command("unregister")
@_token
@click.option("--user", "-u", metavar="USER_ID", help="Only if it is a device of this user.")
@tenant
@connecting
@always_json
@pass_session
def unregister(session: Session, token: str, user: str | None, tenant: str | None) -> None:
    """Forget a device: nothing is sent to it any more."""
    tenant_id = session.required_tenant(tenant)

    def forget(api: EnvironmentApi) -> Answer:
        # The server keeps hexadecimal digits in lower case; it decides itself what is one token.
        if user is not None and {token, token.lower()}.isdisjoint(
            str(row.get("token")) for row in _devices(api, tenant_id, user)
        ):
            raise Failure(f"{user} has no device with this token. `mushu device list --user {user}` shows which.")
        return api.delete("tenants", tenant_id, "devices", token)

    session.environments().in_any(f"tenant {tenant_id}", forget)
    print_json({"token": token, "tenant_id": tenant_id, "unregistered": True})


def _devices(api: EnvironmentApi, tenant_id: str, user: str | None) -> Iterator[Answer]:
    query = {"user_id": user} if user is not None else {}
    return api.rows("tenants", tenant_id, "devices", field="devices", query=query)
