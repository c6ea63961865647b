"""`flask keys rotate`: one key, or all that are due."""

import click

from mushu.server.clock import parse_duration
from mushu.server.commands.common import operator_context
from mushu.server.commands.key_output import of_due, print_minted, put_url
from mushu.server.commands.printing import as_json, print_rows
from mushu.server.core import db
from mushu.server.db import reading
from mushu.server.delivery.inspection import seen_of
from mushu.server.delivery.reconciler import Verdict, any_unreachable
from mushu.server.keys.rotation import RotationRequest, Terms
from mushu.server.keys.states import AtDeadline
from mushu.server.lifecycle.context import DeliveryChoice, DeliveryMode
from mushu.server.lifecycle.maintain import DueRotation, rotate_due
from mushu.server.lifecycle.rotate import rotate
from mushu.server.orgs.service import resolve_org

_RESULTS = {"key_id": "KEY_ID", "name": "NAME", "result": "RESULT", "detail": "DETAIL"}
#: The exit status where nothing failed and yet somebody should look.
_ATTENTION = 3


@click.command("rotate")
@click.argument("key_id", required=False)
@click.option("--due", is_flag=True, help="Rotate every key whose interval is over; for a timer.")
@click.option("--org", help="With --due: of this organization only, and nothing else is done.")
@click.option(
    "--settle", default="1h", show_default=True, help="How long the old key works after the new one's first use."
)
@click.option("--deadline", default="7d", show_default=True, help="How long that first use is waited for.")
@click.option(
    "--at-deadline",
    type=click.Choice([choice.value for choice in AtDeadline]),
    default="keep",
    show_default=True,
    help="Whether the old key then lives on, or ends.",
)
@click.option("--now", "at_once", is_flag=True, help="End the old key at once, without waiting for anything.")
@click.option("--to", "uris", multiple=True, metavar="URI", help="Deliver it there instead; may be repeated.")
@click.option("--with-url", is_flag=True, help="With --to: put MUSHU_URL beside the key, too, where there is none.")
@click.option("--show-once", is_flag=True, help="Print the new key, this one time, instead of delivering it.")
@click.option("--force", is_flag=True, help="Overwrite a value there that is not Mushu's.")
@as_json
def rotate_key(
    key_id: str | None,
    due: bool,
    org: str | None,
    settle: str,
    deadline: str,
    at_deadline: str,
    at_once: bool,
    uris: tuple[str, ...],
    with_url: bool,
    show_once: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Put a new key in the place of a key, which works on until the new one was seen in use."""
    if (key_id is None) != due or (due and (uris or show_once or force)) or (org and not due):
        raise click.UsageError("Name one key, or say --due (with --org, if you like) to rotate all that are due.")
    if show_once and uris:
        raise click.UsageError("Deliver the new key (--to), or print it (--show-once). One of the two.")
    if with_url and not uris:
        raise click.UsageError("--with-url is about where the key is delivered. It needs --to.")
    terms = Terms(
        settle=parse_duration(settle),
        deadline=parse_duration(deadline),
        at_deadline=AtDeadline(at_deadline),
        at_once=at_once,
    )
    if due:
        _rotate_due(org, terms, as_json=as_json)
        return
    mode = DeliveryMode.RESPONSE if show_once else DeliveryMode.SERVER
    choice = DeliveryChoice(mode=mode, uris=uris, force=force)
    minted = rotate(operator_context(), RotationRequest(key_id=str(key_id), terms=terms), choice)
    print_minted(minted)
    if with_url:
        put_url(minted)


def _rotate_due(org: str | None, terms: Terms, *, as_json: bool) -> None:
    """Rotate what is due, and say which rotations have stalled; exit 1 if a key could not be rotated."""
    with reading(db.session):
        org_id = resolve_org(db.session, org).id if org is not None else None
    report = rotate_due(operator_context(), terms, org_id)
    rows = [_row(found.key_id, None, str(found.verdict), found.detail) for found in report.findings]
    rows += [_row_of_rotation(rotation) for rotation in report.rotations]
    rows += [_row(found.key_id, found.key_name, "stalled", found.detail) for found in report.stalled]
    print_rows(rows, _RESULTS, json_wanted=as_json, nothing="No key is due.")
    if any_unreachable(report.findings) or any(done.successor is None for done in report.rotations):
        raise click.exceptions.Exit(1)
    if report.stalled or any(found.verdict is Verdict.DRIFTED for found in report.findings):
        raise click.exceptions.Exit(_ATTENTION)


def _row_of_rotation(done: DueRotation) -> dict[str, str | None]:
    if done.successor is None:
        return _row(done.key_id, done.name, "failed", of_due(done))
    successor = done.successor.key.id
    detail = f"{successor} is in {', '.join(done.successor.delivered_to)}."
    return _row(done.key_id, done.name, "rotated", " ".join([detail, *seen_of(db.session, successor)]))


def _row(key_id: str, name: str | None, result: str, detail: str) -> dict[str, str | None]:
    return {"key_id": key_id, "name": name, "result": result, "detail": detail}
