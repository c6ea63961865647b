"""Notifications to the users of a tenant's app."""

import os
from typing import Any

import click

from mushu import strict_json
from mushu.cli.answers import Answer, number_of
from mushu.cli.client.environments import EnvironmentApi
from mushu.cli.errors import Failure
from mushu.cli.options import IdType, always_json, as_json, connecting, pass_session, tenant
from mushu.cli.output import Column, note, print_json, print_rows
from mushu.cli.session import Session

_COLUMNS = (
    Column("message_id", "MESSAGE_ID"),
    Column("title", "TITLE"),
    Column("outbox", "OUTBOX"),
    Column("created_at", "CREATED"),
)


class ObjectType(click.ParamType[dict[str, Any]]):
    """A JSON object."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        reason = ""
        try:
            found = strict_json.read(os.fsencode(value), strict_json.Limits())
        except strict_json.NotStrictJson as error:
            found, reason = None, f" {error}"
        if not isinstance(found, dict):
            self.fail(f"""write a JSON object, such as '{{"order": 7}}'.{reason}""", param, ctx)
        return found


_title = click.option("--title", help="The first line.")
_body = click.option("--body", "-b", help="The text.")
_badge = click.option("--badge", type=click.IntRange(min=0), help="The number on the app's icon.")
_sound = click.option("--sound", help="The name of a sound of the app, or `default`.")
_payload = click.option("--payload", "-p", type=ObjectType(), metavar="JSON", help="What the app gets besides.")
_silent = click.option("--silent", "-s", is_flag=True, help="Wake the app, and show nothing.")


@click.group()
def push() -> None:
    """Notifications to the users of a tenant's app."""


@push.command("send")
@click.option("--user", "-u", required=True, metavar="USER_ID", help="The user to notify, as the app names them.")
@_title
@_body
@_badge
@_sound
@_payload
@_silent
@tenant
@connecting
@always_json
@pass_session
def send(
    session: Session,
    user: str,
    title: str | None,
    body: str | None,
    badge: int | None,
    sound: str | None,
    payload: Answer | None,
    silent: bool,
    tenant: str | None,
) -> None:
    """Send a notification to all devices of one user."""
    message = _message(title, body, badge, sound, payload, silent)
    answer = _send(session, tenant, ("notify",), {"user_id": user} | message)
    print_json(answer)
    if answer.get("success") is not True:
        raise Failure(f"Nothing was sent. {answer.get('error') or 'The server does not say why.'}")


@push.command("bulk")
@click.option("--users", required=True, metavar="USER_IDS", help="The users to notify, separated by commas.")
@_title
@_body
@_badge
@_sound
@_payload
@_silent
@tenant
@connecting
@always_json
@pass_session
def bulk(
    session: Session,
    users: str,
    title: str | None,
    body: str | None,
    badge: int | None,
    sound: str | None,
    payload: Answer | None,
    silent: bool,
    tenant: str | None,
) -> None:
    """Send a notification to all devices of many users."""
    user_ids = [user.strip() for user in users.split(",") if user.strip()]
    if not user_ids:
        raise click.BadParameter("name one user at least.", param_hint="'--users'")
    message = _message(title, body, badge, sound, payload, silent)
    answer = _send(session, tenant, ("notify", "bulk"), {"user_ids": user_ids} | message)
    print_json(answer)
    total, failed = number_of(answer, "total", 0), number_of(answer, "failed", 0)
    if failed and failed >= total:
        raise Failure("Nobody could be reached. `mushu push show MESSAGE_ID` says why.")
    if failed:
        note(f"{failed} of {total} could not be reached. `mushu push show MESSAGE_ID` says why.")


@push.command("list")
@click.option("--outbox", is_flag=True, help="Only what a tenant without credentials would have sent.")
@tenant
@connecting
@as_json
@pass_session
def list_(session: Session, outbox: bool, tenant: str | None, as_json: bool) -> None:
    """List what was sent, newest first."""
    tenant_id, query = session.required_tenant(tenant), {"outbox": "true"} if outbox else {}
    rows = session.environments().in_any(
        f"tenant {tenant_id}",
        lambda api: api.rows("tenants", tenant_id, "notifications", field="notifications", query=query),
    )
    print_rows(_COLUMNS, rows if as_json else (row | {"title": _title_of(row)} for row in rows), json_wanted=as_json)


@push.command("show")
@click.argument("message_id", type=IdType())
@tenant
@connecting
@always_json
@pass_session
def show(session: Session, message_id: str, tenant: str | None) -> None:
    """Show a notification, and what became of it on each device."""
    tenant_id = session.required_tenant(tenant)
    path = ("tenants", tenant_id, "notifications", message_id)

    def whole(api: EnvironmentApi) -> Answer:
        found = api.get(*path)
        more = found.pop("next_cursor", None)
        sendings = list(api.rows(*path, field="sendings")) if more else found.get("sendings")
        return found | {"sendings": sendings}

    print_json(session.environments().in_any(f"tenant {tenant_id}", whole))


def _title_of(row: Answer) -> object:
    payload = row.get("payload")
    aps = payload.get("aps") if isinstance(payload, dict) else None
    alert = aps.get("alert") if isinstance(aps, dict) else None
    return (alert.get("title") or alert.get("body")) if isinstance(alert, dict) else alert


def _send(session: Session, tenant: str | None, path: tuple[str, ...], body: dict[str, Any]) -> Answer:
    tenant_id = session.required_tenant(tenant)
    return session.environments().in_any(
        f"tenant {tenant_id}", lambda api: api.post_idempotent("tenants", tenant_id, *path, body=body)
    )


def _message(
    title: str | None, body: str | None, badge: int | None, sound: str | None, payload: Answer | None, silent: bool
) -> dict[str, Any]:
    """Return what is sent; what was left out is left to the server."""
    if silent and (title or body or sound):
        raise click.UsageError("--silent shows nothing: leave --title, --body and --sound out.")
    alert = {name: text for name, text in (("title", title), ("body", body)) if text}
    given = {
        "alert": alert or None,
        "badge": badge,
        "sound": sound or None,
        "data": payload,
        "content_available": silent or None,
    }
    message = {name: value for name, value in given.items() if value is not None}
    if not message:
        raise click.UsageError("There is nothing to send: add --title, --body, --badge, --payload or --silent.")
    return message
