"""Home: what an organization's keys need, and what happened of late."""

from typing import Final

from flask import Response

from mushu.server.keys import Scope
from mushu.server.web.dashboard.shell import page
from mushu.server.web.guard import org_page


@org_page(Scope.READ)
def show_home(org_id: str) -> Response:  # noqa: ARG001 - the guard has read it
    """Show the organization."""
    return page("home")


PAGES: Final = (("GET", "/", show_home),)
