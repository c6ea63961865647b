"""The server as an index of packages (PEP 503): `mushu` is the code that runs here; all else is on the public index.

On the public index, another project has the name `mushu`. An index that is asked beside this one could win with a
higher version, so this one answers alone, and sends pip on for everything else.
"""

import re
from functools import cache
from typing import Final

from flask import Blueprint, Response, redirect
from markupsafe import Markup
from werkzeug import Response as BaseResponse

from mushu.address import leaves_in_the_clear
from mushu.server.core import get_core
from mushu.server.errors import NotFound
from mushu.server.operation.client_wheel import PROJECT, ClientWheel, client_wheel
from mushu.server.web.guard import public
from mushu.server.web.response_headers import CachedResponse

PAGES = Blueprint("client_wheel", __name__, url_prefix="/client")
_PUBLIC_INDEX: Final = "https://pypi.org/simple"
#: As pip asks for it; another spelling could be that of `mushu` on the other index.
_NORMALIZED: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_INDEX: Final = Markup('<!DOCTYPE html>\n<html><body><a href="{}">mushu</a></body></html>\n')
_FILES: Final = Markup('<!DOCTYPE html>\n<html><body><a href="{}" data-requires-python="{}">{}</a></body></html>\n')


@PAGES.record
def read_wheel(_: object) -> None:
    """Pack the code that is running now, and not what an upgrade puts in its place later."""
    client_wheel()


@PAGES.get("/", strict_slashes=False)
@public
def show_projects() -> Response:
    """Name the one project of this index."""
    _offered()
    return Response(_INDEX.format(f"{get_core().settings.base_url}/client/{PROJECT}/"))


@PAGES.get("/<project>/", strict_slashes=False)
@public
def show_files(project: str) -> BaseResponse:
    """Name the wheel, with its hash, or lead on to the index that has another project."""
    wheel = _offered()
    if project == PROJECT:
        address = wheel.address(get_core().settings.base_url)
        return Response(_FILES.format(address, wheel.requires_python, wheel.name))
    if not _NORMALIZED.fullmatch(project):
        raise NotFound(f"This index has the project `{PROJECT}`. Ask for others by their normalized names.")
    return redirect(f"{_PUBLIC_INDEX}/{project}/")


@PAGES.get("/<stem>.whl")
@public
def download_wheel(stem: str) -> Response:
    """Serve the wheel, under its own name only: pip takes the version from it."""
    wheel = _offered()
    if f"{stem}.whl" != wheel.name:
        raise NotFound(f"This server offers {wheel.name}.")
    return _download_of(wheel).answer()


@cache
def _download_of(wheel: ClientWheel) -> CachedResponse:
    return CachedResponse(wheel.content, "application/octet-stream")


def _offered() -> ClientWheel:
    """Return the wheel.

    Raises:
        NotFound: none is offered here.
    """
    if leaves_in_the_clear(get_core().settings.base_url):
        raise NotFound(
            "Over plain http, anybody on the way could exchange the wheel. The operator sets MUSHU_PUBLIC_URL to an "
            "https address, or hands the wheel on in another way."
        )
    wheel = client_wheel()
    if wheel is None:
        raise NotFound("This installation does not list its files, so it has no wheel. Install Mushu from a wheel.")
    return wheel
