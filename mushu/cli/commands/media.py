"""Files that users of the server upload, and fetch again."""

from pathlib import Path
from typing import Any, Final

import click

from mushu.cli.answers import Answer, newest_first, number_of, text_of
from mushu.cli.client.environments import EnvironmentApi
from mushu.cli.errors import Failure
from mushu.cli.options import IdType, always_json, as_json, ask, connecting, env, org, pass_session, yes
from mushu.cli.output import Column, print_json, print_rows, say
from mushu.cli.session import Session
from mushu.environment import Environment

_COLUMNS = (
    Column("media_id", "MEDIA_ID"),
    Column("filename", "FILENAME"),
    Column("media_type", "TYPE"),
    Column("status", "STATUS"),
    Column("size_bytes", "BYTES"),
    Column("environment", "ENV"),
    Column("created_at", "CREATED", is_day=True),
)
_SIZES: Final = ("original", "thumbnail", "small", "medium", "large")
_of_tenant = click.option("--tenant", "-t", metavar="TENANT", help="The id of the tenant that it belongs to.")
_media_id = click.argument("media_id", type=IdType())


@click.group()
def media() -> None:
    """Files: upload them, and hand their addresses on."""


@media.command("upload")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--type", "content_type", metavar="TYPE", help="Such as image/png; guessed by the name if left out.")
@org
@_of_tenant
@env
@connecting
@as_json
@pass_session
def upload(
    session: Session,
    file: Path,
    content_type: str | None,
    org: str | None,
    tenant: str | None,
    env: Environment | None,
    as_json: bool,
) -> None:
    """Upload a file, and print its id and its address."""
    from mushu.cli.client.transfer import announce, open_local
    from mushu.cli.client.transfer import upload as send

    local = open_local(file, content_type)
    with local.opened:
        environments = session.environments()
        about = {"org_id": session.org_of(environments, org)} | ({"tenant_id": tenant} if tenant else {})

        def announced(api: EnvironmentApi) -> tuple[EnvironmentApi, Answer]:
            return api, announce(api, local, about)

        anywhere = tenant is not None and env is None
        api, answer = (
            environments.in_any(f"tenant {tenant}", announced) if anywhere else announced(environments.one(env))
        )
        item = send(api, session.file_transfer(), local, answer)
    if as_json:
        print_json(item)
    else:
        say(f"{text_of(item, 'media_id')}  {item.get('url') or item.get('status')}")


@media.command("confirm")
@_media_id
@connecting
@always_json
@pass_session
def confirm(session: Session, media_id: str) -> None:
    """Confirm a file that has arrived, where `upload` was cut off before it could."""
    from mushu.cli.client.transfer import confirm as confirm_at

    print_json(session.environments().in_any(f"file {media_id}", lambda api: confirm_at(api, media_id)))


@media.command("list")
@click.option("--type", "media_type", type=click.Choice(["image", "video", "document", "other"]), help="These only.")
@org
@_of_tenant
@connecting
@as_json
@pass_session
def list_(session: Session, media_type: str | None, org: str | None, tenant: str | None, as_json: bool) -> None:
    """List the files of an organization, or of a tenant, newest first, live and test."""
    environments = session.environments()
    if tenant:
        rows = environments.in_any(f"tenant {tenant}", lambda api: api.rows("media", "tenant", tenant, field="items"))
    else:
        org_id = session.org_of(environments, org)
        lists = [api.rows("media", "org", org_id, field="items") for api in environments.all]
        rows = newest_first(lists, "media_id")
    chosen = (_shown(row) for row in rows if media_type in (None, row.get("media_type")))
    print_rows(_COLUMNS, chosen, json_wanted=as_json)


@media.command("show")
@_media_id
@connecting
@always_json
@pass_session
def show(session: Session, media_id: str) -> None:
    """Show what is known of a file."""
    print_json(_shown(_about(session, media_id)))


@media.command("url")
@_media_id
@click.option("--variant", "-v", type=click.Choice(_SIZES), help="Of a picture in this size.")
@connecting
@as_json
@pass_session
def url(session: Session, media_id: str, variant: str | None, as_json: bool) -> None:
    """Print an address from which anybody can fetch the file, as long as it is good for."""
    answer = _about(session, media_id, "url" if variant is None else "images")
    if as_json:
        print_json(_shown(answer))
    else:
        say(text_of(answer, variant or "url"))


@media.command("images")
@_media_id
@connecting
@as_json
@pass_session
def images(session: Session, media_id: str, as_json: bool) -> None:
    """Show the addresses of a picture, one for each size."""
    answer = _about(session, media_id, "images")
    if as_json:
        print_json(_shown(answer))
    else:
        rows = [{"size": size, "url": answer.get(size)} for size in _SIZES]
        print_rows((Column("size", "SIZE"), Column("url", "URL")), rows, json_wanted=False)


@media.command("download")
@_media_id
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Where to; else its own name, here."
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@connecting
@as_json
@pass_session
def download(session: Session, media_id: str, output: Path | None, force: bool, as_json: bool) -> None:
    """Fetch a file; it is there whole, or not at all."""
    from mushu.cli.client.transfer import drop, keep, open_new
    from mushu.cli.output import progress

    item = _about(session, media_id)
    path, size = output or _name_of(item, media_id), number_of(item, "size_bytes", 0)
    file = open_new(path, overwrite=force)
    try:
        address = text_of(_about(session, media_id, "url"), "url")
        with progress(str(path), size) as moved:
            session.file_transfer().fetch(address, file, moved)
        if file.tell() != size:
            raise Failure(f"{file.tell()} of {size} bytes arrived. Nothing was kept: run the command again.")
        keep(file, path)
    finally:
        drop(file)
    if as_json:
        print_json({"media_id": media_id, "path": str(path), "size_bytes": size})
    else:
        say(str(path))


@media.command("delete")
@_media_id
@yes
@connecting
@always_json
@pass_session
def delete(session: Session, media_id: str, yes: bool) -> None:
    """Delete a file: its addresses lead nowhere from now on."""
    environments = session.environments()
    ask(f"Delete {media_id} for good?", agreed=yes)
    environments.in_any(f"file {media_id}", lambda api: api.delete("media", media_id))
    print_json({"media_id": media_id, "deleted": True})


def _about(session: Session, media_id: str, *further: str) -> Answer:
    return session.environments().in_any(f"file {media_id}", lambda api: api.get("media", media_id, *further))


def _shown(answer: Answer) -> dict[str, Any]:
    from mushu.cli.client.transfer import shown

    return shown(answer)


def _name_of(item: Answer, media_id: str) -> Path:
    """Return the file's own name, unless it could be more than a name on this machine."""
    name = text_of(item, "filename")
    plain = name.isprintable() and not name.startswith(".") and not set(name) & {"/", "\\", ":"}
    return Path(name if plain and name else media_id)
